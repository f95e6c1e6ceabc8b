import { existsSync } from 'node:fs';
import test from 'ava';
import { inRepository, readRepository } from '../../support/repository.ts';

/** Instructions of the Dockerfile, continued lines joined, comments left out. */
const INSTRUCTIONS = readRepository('deploy/Dockerfile')
  .replaceAll('\\\n', ' ')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => line.split(/\s+/));

/** What is copied from the repository into the image that builds. */
const SOURCES = INSTRUCTIONS.filter(([name, first]) => name === 'COPY' && !first?.startsWith('--from=')).flatMap(
  (words) => words.slice(1, -1),
);

test('every instruction is one that Docker knows', (t) => {
  const known = new Set(['FROM', 'WORKDIR', 'COPY', 'RUN', 'LABEL', 'ENTRYPOINT', 'CMD']);
  t.deepEqual(
    INSTRUCTIONS.filter(([name]) => !known.has(name ?? '')),
    [],
  );
  for (const words of INSTRUCTIONS.filter(([name]) => name === 'ENTRYPOINT' || name === 'CMD')) {
    t.notThrows(() => JSON.parse(words.slice(1).join(' ')));
  }
});

test('every COPY source exists and passes the ignore file', (t) => {
  const sent = readRepository('deploy/Dockerfile.dockerignore').split('\n');
  for (const source of SOURCES) {
    t.true(existsSync(inRepository(source)), source);
    t.true(sent.includes(`!${source}`), `${source} in the ignore file`);
  }
});

test('what makes the bundle is copied whole', (t) => {
  const imported = [...readRepository('deploy/bundle.ts').matchAll(/ from '\.\/([^']+)'/g)].map(([, name]) => name);
  t.true(imported.length > 0);
  for (const name of imported) t.true(SOURCES.includes(`deploy/${name}`), name);
});

test('the image holds the program that the npm package holds, and starts its bin', (t) => {
  const { files, bin } = JSON.parse(readRepository('package.json'));
  const copied = INSTRUCTIONS.filter(([name, from]) => name === 'COPY' && from?.startsWith('--from=build'));
  for (const file of files) {
    if (file.startsWith('dist/')) t.true(copied.flat().includes(`/src/${file}`), file);
  }
  t.true(readRepository('deploy/Dockerfile').includes(`/opt/tartan/${bin.tartan} /usr/local/bin/tartan`));
});

test('build and final image are the same Node release, one that the package supports', (t) => {
  const images = INSTRUCTIONS.filter(([name]) => name === 'FROM').map((words) => words[1]);
  t.is(new Set(images).size, 1);
  const major = Number(/^node:(\d+)-/.exec(images[0] ?? '')?.[1]);
  t.true(major >= 24);
});
