import { defineConfig } from 'vitest/config';
import { SummaryReporter } from './test/summary-reporter.ts';

export default defineConfig({
  test: {
    reporters: ['default', new SummaryReporter()],
    projects: [
      {
        // Pure cores: no port, no clock, no process. No isolation; some twenty seconds in all on two processors.
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/interop/**', 'test/hardware/**'],
          isolate: false,
          pool: 'threads',
          // Two of them: the stories of a thousand nodes take as long as all the rest.
          maxWorkers: 2,
          // All of it is computing: a busy machine makes a test slow, never wrong.
          testTimeout: 120_000,
          hookTimeout: 600_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        // Real programs, real ports: one file at a time.
        test: {
          name: 'interop',
          include: ['test/interop/**/*.test.ts'],
          fileParallelism: false,
          pool: 'forks',
          sequence: { groupOrder: 1 },
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
