/**
 * Our own BPF object, loaded without libbpf: maps are made, their descriptors put into the programs' 64-bit loads
 * (R_BPF_64_64, the one relocation that the programs need), and each function of a program section is given to the
 * kernel. The kernel's verifier has the last word; when it refuses, the end of its log is in the error.
 */
import { AppError } from '../../base/errors.ts';
import { ElfFile, SHT, type ElfSection, type ElfSymbol, u64 } from './elf.ts';
import { errnoName, type Syscalls } from './syscalls.ts';

const BPF = { mapCreate: 0, mapUpdate: 2, progLoad: 5 } as const;
const MAP_TYPE = { hash: 1, array: 2, percpuArray: 6, lruHash: 9, ringbuf: 27 } as const;
const BPF_F_MMAPABLE = 1 << 10;
const BPF_PROG_TYPE_KPROBE = 2;
/** `expected_attach_type` of programs for uprobe_multi links (Linux 6.6). */
export const BPF_TRACE_UPROBE_MULTI = 48;
const R_BPF_64_64 = 1;
const BPF_PSEUDO_MAP_FD = 1;
const VERIFIER_LOG_BYTES = 1024 * 1024;

/** The maps of bpf/common.h. */
export interface Maps {
  readonly ring: number;
  readonly threads: number;
  readonly binaries: number;
  readonly losses: number;
  readonly sink: number;
}

export interface Program {
  readonly fd: number;
  /** It belongs at the return of a function. */
  readonly atReturn: boolean;
}

export interface LoadedObject {
  readonly maps: Maps;
  readonly programs: ReadonlyMap<string, Program>;
  /** Whether the programs were loaded for uprobe_multi links. */
  readonly multi: boolean;
}

export const BINARY_BYTES = 232;
export const MAX_BINARIES = 256;
const THREAD_BYTES = 144;
const MAX_THREADS = 65_536;

/** Creates the maps, and loads the programs of the sections `uprobe/…` and `uretprobe/…`. @throws AppError */
export function loadObject(sys: Syscalls, path: string, ringBytes: number, multi: boolean): LoadedObject {
  const elf = new ElfFile(path);
  const opened: number[] = [];
  try {
    const map = (
      name: string,
      type: number,
      key: number,
      value: number,
      entries: number,
      flags = 0,
    ): number => {
      const fd = createMap(sys, name, type, key, value, entries, flags);
      opened.push(fd);
      return fd;
    };
    const maps: Maps = {
      ring: map('ring', MAP_TYPE.ringbuf, 0, 0, ringBytes),
      threads: map('threads', MAP_TYPE.lruHash, 4, THREAD_BYTES, MAX_THREADS),
      binaries: map('binaries', MAP_TYPE.array, 4, BINARY_BYTES, MAX_BINARIES),
      losses: map('losses', MAP_TYPE.array, 4, 64, 1, BPF_F_MMAPABLE),
      sink: map('sink', MAP_TYPE.percpuArray, 4, 32_768, 1),
    };
    const programs = new Map<string, Program>();
    const symbols = elf.symbols(SHT.symtab);
    elf.sections.forEach((section, index) => {
      if (!/^u(?:ret)?probe\//.test(section.name)) return;
      const code = relocated(elf, section, index, symbols, maps);
      for (const symbol of symbols) {
        if (symbol.type !== 2 || symbol.section !== index) continue;
        const fd = loadProgram(
          sys,
          symbol.name,
          code.subarray(symbol.value, symbol.value + symbol.size),
          multi,
        );
        opened.push(fd);
        programs.set(symbol.name, { fd, atReturn: section.name.startsWith('uretprobe/') });
      }
    });
    return { maps, programs, multi };
  } catch (error) {
    for (const fd of opened) sys.close(fd);
    throw error;
  } finally {
    elf.close();
  }
}

export function closeObject(sys: Syscalls, object: LoadedObject): void {
  for (const { fd } of object.programs.values()) sys.close(fd);
  for (const fd of Object.values(object.maps) as number[]) sys.close(fd);
}

/** @throws AppError `denied` without the right to, `unavailable` when the kernel has no such map. */
export function createMap(
  sys: Syscalls,
  name: string,
  type: number,
  keyBytes: number,
  valueBytes: number,
  entries: number,
  flags: number,
): number {
  const attributes = Buffer.alloc(72);
  attributes.writeUInt32LE(type, 0);
  attributes.writeUInt32LE(keyBytes, 4);
  attributes.writeUInt32LE(valueBytes, 8);
  attributes.writeUInt32LE(entries, 12);
  attributes.writeUInt32LE(flags, 16);
  attributes.write(`dbw_${name}`.slice(0, 15), 28, 'latin1');
  const fd = sys.bpf(BPF.mapCreate, attributes);
  if (fd >= 0) return fd;
  const errno = -fd;
  const denied = errno === 1 || errno === 13;
  throw new AppError(
    denied ? 'denied' : 'unavailable',
    denied ? 'PROBE_DENIED' : 'PROBE_MAP',
    `the kernel refused the BPF map "${name}" (${errnoName(errno)}); "dbwitness probe check" says what is missing`,
  );
}

/** A map of one entry: whether this process may use BPF at all. @throws AppError as {@link createMap} */
export function tryBpf(sys: Syscalls): void {
  sys.close(createMap(sys, 'try', MAP_TYPE.array, 4, 8, 1, 0));
}

/** Sets an element of a map with 32-bit keys. @throws AppError */
export function updateMap(sys: Syscalls, fd: number, key: number, value: Buffer): void {
  const keyBytes = Buffer.alloc(4);
  keyBytes.writeUInt32LE(key);
  const attributes = Buffer.alloc(32);
  attributes.writeUInt32LE(fd, 0);
  attributes.writeBigUInt64LE(sys.addressOf(keyBytes), 8);
  attributes.writeBigUInt64LE(sys.addressOf(value), 16);
  const result = sys.bpf(BPF.mapUpdate, attributes);
  if (result < 0)
    throw new AppError('unavailable', 'PROBE_MAP', `a BPF map could not be written (${errnoName(-result)})`);
}

function relocated(
  elf: ElfFile,
  section: ElfSection,
  index: number,
  symbols: readonly ElfSymbol[],
  maps: Maps,
): Buffer {
  const code = elf.read(section.offset, section.size);
  for (const table of elf.sections) {
    if (table.type !== SHT.rel || table.info !== index) continue;
    const entries = elf.read(table.offset, table.size);
    for (let at = 0; at + 16 <= entries.length; at += 16) {
      const where = u64(entries, at);
      const type = entries.readUInt32LE(at + 8);
      const symbol = symbols[entries.readUInt32LE(at + 12)];
      const fd = (maps as unknown as Readonly<Record<string, number | undefined>>)[symbol.name];
      if (type !== R_BPF_64_64 || fd === undefined)
        throw new AppError(
          'corrupt',
          'PROBE_OBJECT',
          `the BPF object refers to "${symbol.name}" (relocation ${type}), which the loader does not know`,
        );
      // An lddw: src_reg says what the immediate is.
      code[where + 1] = (code[where + 1] & 0x0f) | (BPF_PSEUDO_MAP_FD << 4);
      code.writeInt32LE(fd, where + 4);
    }
  }
  return code;
}

function loadProgram(sys: Syscalls, name: string, code: Buffer, multi: boolean): number {
  // Own memory: the kernel reads it by address.
  const instructions = Buffer.from(code);
  const license = Buffer.from('Dual BSD/GPL\0', 'latin1');
  const attributes = Buffer.alloc(72);
  attributes.writeUInt32LE(BPF_PROG_TYPE_KPROBE, 0);
  attributes.writeUInt32LE(instructions.length / 8, 4);
  attributes.writeBigUInt64LE(sys.addressOf(instructions), 8);
  attributes.writeBigUInt64LE(sys.addressOf(license), 16);
  attributes.write(`dbw_${name}`.slice(0, 15), 48, 'latin1');
  attributes.writeUInt32LE(multi ? BPF_TRACE_UPROBE_MULTI : 0, 68);
  const fd = sys.bpf(BPF.progLoad, attributes);
  if (fd >= 0) return fd;
  const errno = -fd;
  if (errno === 1)
    throw new AppError(
      'denied',
      'PROBE_DENIED',
      'the kernel refused to load a program (EPERM); "dbwitness probe check" says which capability is missing',
    );
  const log = Buffer.alloc(VERIFIER_LOG_BYTES);
  attributes.writeUInt32LE(1, 24);
  attributes.writeUInt32LE(log.length, 28);
  attributes.writeBigUInt64LE(sys.addressOf(log), 32);
  const again = sys.bpf(BPF.progLoad, attributes);
  if (again >= 0) return again;
  const end = log.indexOf(0);
  const tail = log
    .toString('latin1', 0, end < 0 ? log.length : end)
    .trimEnd()
    .split('\n')
    .slice(-12)
    .join('\n');
  throw new AppError(
    'unavailable',
    'PROBE_PROGRAM',
    `the kernel refused the program ${name} (${errnoName(errno)}). The end of its verifier's log:\n${tail}`,
    { details: { program: name, errno } },
  );
}
