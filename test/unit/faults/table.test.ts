import test from 'ava';
import { faultsFor, TABLE } from '../../faults/table.ts';

test('every fault has a name of its own in its group and a promise', (t) => {
  t.is(new Set(TABLE.map(({ group, name }) => `${group}: ${name}`)).size, TABLE.length);
  t.true(TABLE.every(({ withinMs }) => withinMs > 0));
  // They stand in a Markdown table.
  t.false(TABLE.some(({ name }) => name.includes('|')));
});

test('three members are for what has to do with etcd', (t) => {
  t.true(faultsFor('tartan', 'three').every(({ group }) => group === 'etcd'));
  t.true(
    faultsFor('tartan', 'three').length > faultsFor('tartan', 'one').filter(({ group }) => group === 'etcd').length,
  );
});

test('flanneld is spared what it has no counterpart of', (t) => {
  const spared = TABLE.filter((fault) => !faultsFor('flanneld', 'one').includes(fault) && fault.only?.etcd !== 'three');
  t.true(spared.length > 0);
  t.true(spared.every(({ only }) => only?.subject === 'tartan'));
});
