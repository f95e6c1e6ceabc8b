import test from 'ava';
import { follows, mayAllocate, trustAfter } from '../../../leases/store-trust.ts';

test('the first store is trusted, one that went back or is another only after a minute', (t) => {
  const first = trustAfter(undefined, { clusterId: '1', revision: 10 }, 5000);
  t.true(mayAllocate(first, { clusterId: '1', revision: 10 }, 5000));
  t.true(mayAllocate(undefined, { clusterId: '1', revision: 10 }, 0));
  const on = trustAfter(first, { clusterId: '1', revision: 12, term: 5 }, 6000);
  t.true(mayAllocate(on, { clusterId: '1', revision: 12 }, 6000));
  t.false(mayAllocate(on, { clusterId: '1', revision: 11 }, 6000));
  for (const next of [
    { clusterId: '1', revision: 11 },
    { clusterId: '2', revision: 99 },
    { clusterId: '1', revision: 99, term: 4 },
  ]) {
    t.false(follows(next, on.version));
    const back = trustAfter(on, next, 7000);
    t.false(mayAllocate(back, next, 66_999));
    t.true(mayAllocate(back, next, 67_000));
    t.false(mayAllocate(trustAfter(back, next, 60_000), next, 66_999));
  }
});

test('a term that is not known tells nothing; one that grew is an election', (t) => {
  const known = { clusterId: '1', revision: 10 };
  t.true(follows({ ...known, term: 2 }, known));
  t.true(follows(known, { ...known, term: 2 }));
  t.true(follows({ ...known, term: 3 }, { ...known, term: 2 }));
  t.false(follows({ ...known, term: 2 }, { ...known, term: 3 }));
});

test('a store that looks as if it went on, and is known not to, is not trusted either', (t) => {
  const first = trustAfter(undefined, { clusterId: '1', revision: 10 }, 0);
  const next = { clusterId: '1', revision: 12 };
  t.false(mayAllocate(trustAfter(first, next, 1000, true), next, 60_999));
});
