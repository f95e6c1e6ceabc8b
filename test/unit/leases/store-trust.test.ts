import test from 'ava';
import { follows, mayAllocate, trustAfter } from '../../../leases/store-trust.ts';

test('the first store is trusted, one that went back or is another only after a minute', (t) => {
  const first = trustAfter(undefined, { clusterId: '1', revision: 10 }, 5000);
  t.true(mayAllocate(first, { clusterId: '1', revision: 10 }, 5000));
  t.true(mayAllocate(undefined, { clusterId: '1', revision: 10 }, 0));
  const on = trustAfter(first, { clusterId: '1', revision: 12 }, 6000);
  t.true(mayAllocate(on, { clusterId: '1', revision: 12 }, 6000));
  t.false(mayAllocate(on, { clusterId: '1', revision: 11 }, 6000));
  for (const next of [
    { clusterId: '1', revision: 11 },
    { clusterId: '2', revision: 99 },
  ]) {
    t.false(follows(next, on.version));
    const back = trustAfter(on, next, 7000);
    t.false(mayAllocate(back, next, 66_999));
    t.true(mayAllocate(back, next, 67_000));
    t.false(mayAllocate(trustAfter(back, next, 60_000), next, 66_999));
  }
});
