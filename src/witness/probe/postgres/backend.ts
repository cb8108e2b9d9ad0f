/**
 * Backends that were there before the probe: who they serve, read from their memory through the exported variable
 * MyProcPort. Where `Port` keeps database and user differs between versions; they are two pointers in a row, and the
 * process's title names both ("postgres: user database …").
 *
 *   Port: SockAddr laddr @16 · SockAddr raddr @152 · … char *database_name, char *user_name somewhere behind 288
 */
import { readFileSync } from 'node:fs';
import { peerAddress, serverEnd } from '../addresses.ts';
import type { ElfFile } from '../elf.ts';
import { loadBias, ProcessMemory } from '../processes.ts';
import type { PostgresBinary } from './binary.ts';

export interface BackendFacts {
  readonly database: string;
  readonly user: string;
  readonly address: string;
  readonly port: number;
  readonly serverAddress: string;
  readonly serverPort: number;
  readonly application: string;
  /** Microseconds since 1970; 0 unknown. */
  readonly startedUs: number;
}

const LADDR_AT = 16;
const RADDR_AT = 152;
const POINTERS_FROM = 288;
const PORT_BYTES = 512;
/** 2000-01-01 in microseconds since 1970. */
export const POSTGRES_EPOCH_US = 946_684_800_000_000;

/** `null` for a process that serves no client (the postmaster, autovacuum, workers) or that is gone or closed to us. */
export function readBackend(pid: number, elf: ElfFile, binary: PostgresBinary): BackendFacts | null {
  if (binary.variables.port === 0) return null;
  let memory: ProcessMemory | null = null;
  try {
    const bias = loadBias(pid, elf);
    if (bias === null) return null;
    memory = new ProcessMemory(pid);
    const port = memory.pointer(bias + BigInt(binary.variables.port));
    if (port === 0n) return null;
    const bytes = memory.read(port, PORT_BYTES);
    if (bytes.length < PORT_BYTES) return null;
    const names = findNames(
      memory,
      bytes,
      readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' '),
    );
    const { application, started } = binary.variables;
    const startedUs =
      started === 0
        ? 0
        : Number(BigInt.asIntN(64, memory.pointer(bias + BigInt(started)))) + POSTGRES_EPOCH_US;
    return {
      database: names.database,
      user: names.user,
      ...peerAddress(bytes, RADDR_AT),
      ...serverEnd(bytes, LADDR_AT),
      application: application === 0 ? '' : (memory.string(memory.pointer(bias + BigInt(application))) ?? ''),
      startedUs,
    };
  } catch {
    return null; // it ended meanwhile
  } finally {
    memory?.close();
  }
}

function findNames(memory: ProcessMemory, port: Buffer, title: string): { database: string; user: string } {
  const strings: (string | null)[] = [];
  for (let at = POINTERS_FROM; at + 8 <= port.length; at += 8)
    strings.push(memory.string(port.readBigUInt64LE(at)));
  for (let i = 0; i + 1 < strings.length; i++) {
    const [database, user] = [strings[i] ?? '', strings[i + 1] ?? ''];
    if (database !== '' && user !== '' && title.includes(` ${user} ${database} `)) return { database, user };
  }
  return { database: '', user: '' };
}
