/** Threads with a parser of PostgreSQL's each. */
import { WorkerPool, type WorkerPoolOptions } from '../worker-pool.ts';

export class ParserPool extends WorkerPool {
  constructor(options: Partial<WorkerPoolOptions> = {}) {
    // Beside this file under the same extension, as sources and as compiled.
    const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js';
    super(new URL(`./parser-worker${extension}`, import.meta.url), null, options);
  }
}
