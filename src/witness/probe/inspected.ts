/** What is known of a server's binary: enough to attach to it, and to read what its programs report. */
import type { ElfFile } from './elf.ts';
import { entrySkip } from './machine-code.ts';
import type { BinaryFacts } from './records.ts';

export type ProbedEngine = 'postgres' | 'mysql' | 'mariadb';

/** A program of ours at an address of the binary. */
export interface Hook {
  readonly program: string;
  readonly fileOffset: number;
}

export interface Inspected {
  readonly engine: ProbedEngine;
  /** As the binary says: "15.14", "10.11.19-MariaDB", "9.7.1". */
  readonly version: string;
  readonly major: number;
  readonly buildId: string;
  readonly facts: BinaryFacts;
  readonly hooks: readonly Hook[];
  /** What will not be seen, each in a few words. Empty: everything. */
  readonly missing: readonly string[];
}

export interface InspectOptions {
  readonly maxTextBytes: number;
  readonly parameters: boolean;
  /** A function to attach to instead of `dispatch_command` or `PortalRun`, by its exact symbol. */
  readonly functionName?: string;
  /** Where `dispatch_command` lies in the file, for a binary that does not export it. */
  readonly fileOffset?: number;
}

/** A place to attach at: the function's first instruction, or the one behind endbr64, which uprobes cannot emulate. */
export interface Place {
  readonly address: number;
  readonly fileOffset: number;
}

const STT_FUNC = 2;
const MAX_JUMPS = 4;

/**
 * Where a function really begins. A symbol that is only a jump (a trampoline of a linker or of a patch) is followed; one
 * that is no plain function (an ifunc resolver), or lies outside of the file, gives `null`.
 */
export function placeOf(elf: ElfFile, symbol: string): Place | null {
  const found = elf.exported.get(symbol);
  if (found === undefined || found.type !== STT_FUNC) return null;
  let address = found.value;
  for (let jumps = 0; jumps < MAX_JUMPS; jumps++) {
    const fileOffset = elf.offsetOf(address);
    if (fileOffset === null) return null;
    const code = elf.read(fileOffset, 16);
    const skip = entrySkip(code);
    // jmp rel32, jmp rel8
    if (code[skip] === 0xe9) address += skip + 5 + code.readInt32LE(skip + 1);
    else if (code[skip] === 0xeb) address += skip + 2 + code.readInt8(skip + 1);
    else return { address: address + skip, fileOffset: fileOffset + skip };
  }
  return null;
}
