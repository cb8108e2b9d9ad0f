/** The engines that the probe knows: what a binary is, and who reads its records. */
import type { ElfFile } from './elf.ts';
import type { Inspected, InspectOptions } from './inspected.ts';
import { inspectMysql, looksLikeMysql } from './mysql/binary.ts';
import { MysqlObserver } from './mysql/observer.ts';
import type { Observer, ObserverContext } from './observer.ts';
import { inspectPostgres, looksLikePostgres } from './postgres/binary.ts';
import { PostgresObserver } from './postgres/observer.ts';

export interface KnownBinary {
  readonly inspected: Inspected;
  readonly observe: (context: ObserverContext) => Observer;
}

/** `null` for what is no server. @throws AppError `invalid` for a server that cannot be observed, and why. */
export function inspectBinary(elf: ElfFile, options: InspectOptions): KnownBinary | null {
  if (looksLikePostgres(elf)) {
    const inspected = inspectPostgres(elf, options);
    return { inspected, observe: (context) => new PostgresObserver(context, inspected) };
  }
  if (looksLikeMysql(elf) || (options.fileOffset ?? options.functionName) !== undefined) {
    const inspected = inspectMysql(elf, options);
    return { inspected, observe: (context) => new MysqlObserver(context, inspected) };
  }
  return null;
}
