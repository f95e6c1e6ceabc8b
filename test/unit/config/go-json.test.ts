import test from 'ava';
import fc from 'fast-check';
import { goField, goFields, isJsonObject } from '../../../config/go-json.ts';

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

test('several fields are what each is alone, however they are spelt', (t) => {
  const names = ['PublicIP', 'node'];
  const key = fc.constantFrom('PublicIP', 'publicip', 'PUBLICIP', 'node', 'Node', 'other', '__proto__', 'constructor');
  fc.assert(
    fc.property(fc.array(fc.tuple(key, fc.integer())), (entries) => {
      const object: unknown = JSON.parse(`{${entries.map(([name, value]) => `"${name}":${value}`).join()}}`);
      if (!isJsonObject(object)) return t.fail();
      const fields = goFields(object, names);
      for (const name of names) t.is(fields[name], goField(object, name));
      return undefined;
    }),
  );
});

test('only an object is an object', (t) => {
  t.true(isJsonObject({}));
  for (const value of [null, [], '', 0, true, undefined]) t.false(isJsonObject(value));
});
