// Tests that start etcd, agents and namespaces: one after the other, and slow machines get time.
export default {
  files: ['dist/test/**/*.test.js', '!dist/test/unit/**'],
  workerThreads: false,
  serial: true,
  concurrency: 1,
  timeout: '5m',
};
