import test from 'ava';
import { goField, isJsonObject } from '../../../config/go-json.ts';

test('a field is found whatever the case of its key', (t) => {
  for (const key of ['Network', 'network', 'NETWORK', 'netWork']) t.is(goField({ [key]: 1 }, 'Network'), 1);
  t.is(goField({ Networks: 1 }, 'Network'), undefined);
});

test('the last of several keys wins', (t) => {
  t.is(goField({ network: 1, Network: 2 }, 'Network'), 2);
  t.is(goField({ Network: 1, network: 2 }, 'Network'), 2);
});

test('null is a value', (t) => t.is(goField({ Network: null }, 'Network'), null));

test('keys that every object inherits are no fields', (t) => {
  t.is(goField({}, 'constructor'), undefined);
  t.is(goField({}, '__proto__'), undefined);
});

test('only an object is an object', (t) => {
  t.true(isJsonObject({}));
  for (const value of [null, [], '', 0, true, undefined]) t.false(isJsonObject(value));
});
