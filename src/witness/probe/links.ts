/**
 * Attaching programs to functions of a binary. One uprobe_multi link (Linux 6.6) covers many functions with one program
 * each; older kernels (from 5.15) get a perf event and a link per function. A link ends with its descriptor, so a killed
 * probe leaves nothing behind.
 */
import { readFileSync } from 'node:fs';
import { AppError } from '../../base/errors.ts';
import { BPF_TRACE_UPROBE_MULTI, type Program } from './object.ts';
import { errnoName, type Syscalls } from './syscalls.ts';

const BPF_LINK_CREATE = 28;
const BPF_PERF_EVENT = 41;
const BPF_F_UPROBE_MULTI_RETURN = 1;
export const UPROBE_TYPE_FILE = '/sys/bus/event_source/devices/uprobe/type';

export interface Attachment {
  readonly program: Program;
  /** Of the instruction, in the file. */
  readonly fileOffset: number;
}

/** Attaches; returns the descriptors to close. @throws AppError that names errno. Nothing stays attached then. */
export function attach(
  sys: Syscalls,
  path: string,
  attachments: readonly Attachment[],
  cookie: number,
  multi: boolean,
): number[] {
  const opened: number[] = [];
  try {
    for (const one of attachments)
      opened.push(...(multi ? [multiLink(sys, path, one, cookie)] : perfLink(sys, path, one, cookie)));
    return opened;
  } catch (error) {
    detach(sys, opened);
    throw error;
  }
}

export function detach(sys: Syscalls, descriptors: readonly number[]): void {
  for (const fd of descriptors) sys.close(fd);
}

function multiLink(sys: Syscalls, path: string, { program, fileOffset }: Attachment, cookie: number): number {
  const name = Buffer.from(`${path}\0`);
  const offsets = Buffer.alloc(8);
  offsets.writeBigUInt64LE(BigInt(fileOffset));
  const cookies = Buffer.alloc(8);
  cookies.writeBigUInt64LE(BigInt(cookie));
  // {prog_fd, target_fd, attach_type, flags, uprobe_multi {path, offsets, ref_ctr_offsets, cookies, cnt, flags, pid}}
  const attributes = Buffer.alloc(64);
  attributes.writeUInt32LE(program.fd, 0);
  attributes.writeUInt32LE(BPF_TRACE_UPROBE_MULTI, 8);
  attributes.writeBigUInt64LE(sys.addressOf(name), 16);
  attributes.writeBigUInt64LE(sys.addressOf(offsets), 24);
  attributes.writeBigUInt64LE(sys.addressOf(cookies), 40);
  attributes.writeUInt32LE(1, 48);
  attributes.writeUInt32LE(program.atReturn ? BPF_F_UPROBE_MULTI_RETURN : 0, 52);
  const fd = sys.bpf(BPF_LINK_CREATE, attributes);
  if (fd < 0) throw refused(path, -fd);
  return fd;
}

function perfLink(
  sys: Syscalls,
  path: string,
  { program, fileOffset }: Attachment,
  cookie: number,
): number[] {
  const name = Buffer.from(`${path}\0`);
  // struct perf_event_attr: 0 type · 4 size · 8 config (bit 0: at the return) · 56 uprobe_path · 64 probe_offset
  const attributes = Buffer.alloc(128);
  attributes.writeUInt32LE(uprobeType(), 0);
  attributes.writeUInt32LE(attributes.length, 4);
  attributes.writeUInt32LE(program.atReturn ? 1 : 0, 8);
  attributes.writeBigUInt64LE(sys.addressOf(name), 56);
  attributes.writeBigUInt64LE(BigInt(fileOffset), 64);
  const event = sys.perfEventOpen(attributes, -1, 0);
  if (event < 0) throw refused(path, -event);
  const link = Buffer.alloc(64);
  link.writeUInt32LE(program.fd, 0);
  link.writeUInt32LE(event, 4);
  link.writeUInt32LE(BPF_PERF_EVENT, 8);
  link.writeBigUInt64LE(BigInt(cookie), 16);
  const fd = sys.bpf(BPF_LINK_CREATE, link);
  if (fd < 0) {
    sys.close(event);
    throw refused(path, -fd);
  }
  return [fd, event];
}

function uprobeType(): number {
  try {
    return Number(readFileSync(UPROBE_TYPE_FILE, 'utf8'));
  } catch (cause) {
    throw new AppError(
      'unavailable',
      'PROBE_NO_UPROBES',
      `${UPROBE_TYPE_FILE} is not there: this kernel has no uprobes (CONFIG_UPROBE_EVENTS), or /sys is not mounted`,
      { cause },
    );
  }
}

function refused(path: string, errno: number): AppError {
  const denied = errno === 1 || errno === 13;
  return new AppError(
    denied ? 'denied' : 'unavailable',
    denied ? 'PROBE_DENIED' : 'PROBE_ATTACH',
    `the kernel refused to attach to ${path} (${errnoName(errno)})${denied ? '; "dbwitness probe check" says which capability is missing' : ''}`,
    { details: { errno } },
  );
}
