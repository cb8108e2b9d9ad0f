/** Worker threads, from the sources (`.ts`, by type stripping) and from `dist/` (`.js`) alike. */
import { readlinkSync } from 'node:fs';
import { setPriority } from 'node:os';

/** The URL of a sibling module named as in an import, with the extension that the importing file itself has. */
export function moduleUrl(specifier: string, importMetaUrl: string): URL {
  const extension = new URL(importMetaUrl).pathname.endsWith('.ts') ? '.ts' : '.js';
  return new URL(specifier.replace(/\.ts$/, extension), importMetaUrl);
}

/** The calling thread gives way to the relay's: Linux applies setpriority(2) to a thread when given its thread id. */
export function lowerThreadPriority(nice: number): void {
  try {
    const threadId = Number(readlinkSync('/proc/thread-self').split('/').at(-1));
    if (Number.isSafeInteger(threadId)) setPriority(threadId, nice);
  } catch {
    // Only a matter of speed, and not possible everywhere.
  }
}
