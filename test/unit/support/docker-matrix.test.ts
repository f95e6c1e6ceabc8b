import test from 'ava';
import { dockerMatrixMarkdown } from '../../support/docker-matrix.ts';
import { readRepository } from '../../support/repository.ts';

test('the table of Dockers as it is printed is the one that is tested', (t) => {
  t.is(`${dockerMatrixMarkdown()}\n`, readRepository('test/golden/docker-matrix.md'));
});
