import { defineConfig } from 'vitest/config';

const nightly = process.env['DBW_TEST_NIGHTLY'] === '1';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts', ...(nightly ? ['test/**/*.nightly.ts'] : [])],
    // Processes, not threads: a test may end its own, and native servers end with the process that started them.
    pool: 'forks',
    // Servers start within seconds; a loaded two-core machine may need some more.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    restoreMocks: true,
    passWithNoTests: false,
  },
});
