import { readdirSync } from 'node:fs';
import test from 'ava';
import { ERRORS } from '../../../config/errors.ts';
import { inRepository, readRepository } from '../../support/repository.ts';

const ROOMS = ['agent', 'backends', 'leases', 'config'];

function sources(): string {
  const files = ROOMS.flatMap((room) =>
    readdirSync(inRepository(room), { recursive: true, encoding: 'utf8' }).map((path) => `${room}/${path}`),
  );
  const others = files.filter((path) => path.endsWith('.ts') && path !== 'config/errors.ts');
  return others.map(readRepository).join('\n');
}

test('every code is thrown or told somewhere', (t) => {
  const text = sources();
  for (const code of Object.keys(ERRORS)) t.true(text.includes(`'${code}'`), code);
});
