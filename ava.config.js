// Compiled tests, one process per file: a network namespace belongs to a thread, and an abort ends only its own file.
export default {
  require: ['./dist/test/support/fixed-seed.js'],
  files: ['dist/test/**/*.test.js'],
  workerThreads: false,
  timeout: '2m',
};
