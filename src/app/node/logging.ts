/** The log: JSON lines on standard error, no SQL, no secrets, no bind values at any level. */
import pino, { type Logger } from 'pino';
import type { Config } from '../config.ts';

export function createLogger(config: Pick<Config, 'logLevel' | 'node'>): Logger {
  return pino(
    { level: config.logLevel, base: { node: config.node }, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ dest: 2, sync: false }),
  );
}
