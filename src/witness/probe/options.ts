/** What a probe is asked to do, and what it says of itself. Plain data: it crosses to the probe's thread. */
import type { ErrorKind } from '../../base/errors.ts';
import type { ProbedEngine } from './inspected.ts';

const MiB = 1024 * 1024;

export const probeLimits = {
  /** Of the ring buffer in the kernel. 64 MiB hold half a second of 100,000 statements a second. */
  ringBytes: 64 * MiB,
  /** Captured of one text; the rest is counted. */
  maxTextBytes: 1 * MiB,
  /** Between two looks for servers that are new or gone. */
  scanMs: 1_000,
  /** Between two looks into the ring: each takes a core's caches from the server, so they are few. */
  pollMs: 20,
  idlePollMs: 25,
  /** Handed over and not taken yet; beyond, the ring is left to fill, and what it loses is counted. */
  maxUntakenBytes: 64 * MiB,
} as const;

export interface ProbeOptions {
  readonly engines: readonly ProbedEngine[];
  /** One binary instead of all that run. */
  readonly path: string | null;
  readonly functionName: string | null;
  readonly fileOffset: number | null;
  /** Only what this process, or a child of it, does. */
  readonly pid: number | null;
  readonly uid: number | null;
  readonly parameters: boolean;
  readonly ringBytes: number;
  readonly maxTextBytes: number;
  readonly scanMs: number;
  /** How to attach: `auto` takes uprobe_multi links where the kernel has them. */
  readonly links: 'auto' | 'multi' | 'perf';
}

export const defaultProbeOptions: ProbeOptions = {
  engines: ['postgres', 'mysql', 'mariadb'],
  path: null,
  functionName: null,
  fileOffset: null,
  pid: null,
  uid: null,
  parameters: false,
  ringBytes: probeLimits.ringBytes,
  maxTextBytes: probeLimits.maxTextBytes,
  scanMs: probeLimits.scanMs,
  links: 'auto',
};

/** A binary that the probe is attached to. */
export interface AttachedBinary {
  readonly program: string;
  readonly engine: ProbedEngine;
  readonly version: string;
  readonly buildId: string;
  readonly hooks: number;
  readonly processes: number;
  readonly missing: readonly string[];
}

export interface ProbeStatus {
  readonly attached: readonly AttachedBinary[];
  readonly records: number;
  readonly lostStatements: number;
  readonly lostTexts: number;
  readonly lostOthers: number;
  /** Reads of a process's memory that failed: its page was not there. */
  readonly unreadable: number;
  readonly links: 'multi' | 'perf';
}

export type ToProbe =
  | { readonly type: 'taken'; readonly bytes: number }
  | { readonly type: 'scan' }
  | { readonly type: 'stop' };

export type FromProbe =
  | { readonly type: 'ready'; readonly status: ProbeStatus }
  | { readonly type: 'events'; readonly batch: Uint8Array<ArrayBuffer>; readonly events: number }
  | { readonly type: 'status'; readonly status: ProbeStatus }
  | { readonly type: 'notice'; readonly level: 'info' | 'warn'; readonly message: string }
  | { readonly type: 'failed'; readonly kind: ErrorKind; readonly code: string; readonly message: string }
  | { readonly type: 'stopped'; readonly status: ProbeStatus };
