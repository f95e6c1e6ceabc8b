import test from 'ava';
import { readListing, readStranger } from '../../../../backends/firewall/peer-filter-listing.ts';
import { ip } from '../values.ts';

/** By nft 1.0.6. */
const TEXT = `table inet tartan-flannel.1 {
	counter passed {
		packets 3 bytes 234
	}

	set guarded {
		type inet_service
		flags timeout
		elements = { 8472 timeout 1m expires 58s688ms }
	}

	set peers {
		type ipv4_addr
		counter
		elements = { 127.0.0.9 counter packets 3 bytes 234, 192.0.2.1 counter packets 0 bytes 0,
			     192.0.2.2 counter packets 0 bytes 0 }
	}

	set tolerated {
		typeof ip saddr . @th,336,32
		flags interval
		counter
		elements = { 192.0.2.7 . 0xa050100-0xa0501ff counter packets 1 bytes 78 }
	}

	set strangers {
		typeof ip saddr . @th,336,32
		size 256
		flags dynamic,timeout
		counter
		timeout 1m
	}

	chain input {
		type filter hook input priority filter; policy accept;
		meta nfproto ipv4 udp dport @guarded @th,96,24 0x1 jump datagrams
	}
}
`;

test('what nft prints', (t) => {
  const { sets, counters, chains } = readListing(TEXT);
  t.deepEqual([...(sets.get('guarded') ?? [])], [['8472', 0]]);
  t.deepEqual(
    [...(sets.get('peers') ?? [])],
    [
      ['127.0.0.9', 3],
      ['192.0.2.1', 0],
      ['192.0.2.2', 0],
    ],
  );
  t.deepEqual([...(sets.get('tolerated') ?? [])], [['192.0.2.7 . 0xa050100-0xa0501ff', 1]]);
  t.is(sets.get('strangers')?.size, 0);
  t.deepEqual([...counters], [['passed', 3]]);
  t.deepEqual(
    [...chains],
    [
      [
        'input',
        [
          'type filter hook input priority filter; policy accept;',
          'meta nfproto ipv4 udp dport @guarded @th,96,24 0x1 jump datagrams',
        ],
      ],
    ],
  );
});

test('what is no listing is nothing', (t) => {
  for (const text of ['', 'table', '}\n\t}\n', TEXT.slice(0, 40)]) {
    const { sets, counters, chains } = readListing(text);
    t.is(sets.size + counters.size + chains.size, 0, text);
  }
});

test('an element names outer and inner source', (t) => {
  t.deepEqual(readStranger('127.0.0.1 . 0xa050304', 4), { source: ip('127.0.0.1'), inner: ip('10.5.3.4') });
  t.deepEqual(readStranger('127.0.0.1 . 168100612', 4), { source: ip('127.0.0.1'), inner: ip('10.5.3.4') });
  t.deepEqual(readStranger('127.0.0.1 . 10.5.3.4', 4), { source: ip('127.0.0.1'), inner: ip('10.5.3.4') });
  t.deepEqual(readStranger('::1 . 0xfd001000000000010000000000000002', 6), {
    source: ip('::1'),
    inner: ip('fd00:1000:0:1::2'),
  });
  for (const text of ['', '127.0.0.1', 'x . 0x1', '127.0.0.1 . 0x1ffffffff', '127.0.0.1 . 0x', '127.0.0.1 . -1']) {
    t.is(readStranger(text, 4), undefined, text);
  }
});
