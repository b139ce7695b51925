// One process per test file: sockets, global counters and crashes stay apart. tools/run-tests.ts runs unit tests and
// end-to-end tests as two runs, because the latter start whole clusters and want the machine for themselves.

export default {
  files: ['test/**/*.test.ts'],
  extensions: ['ts'],
  workerThreads: false,
  timeout: '2m',
  concurrency: 2,
  environmentVariables: { NODE_NO_WARNINGS: '1' },
};
