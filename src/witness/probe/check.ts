/**
 * What the probe needs of this machine, looked at one by one: each finding is one line that says what is there or what is
 * missing, and how to give it. Nothing is attached, and nothing stays loaded.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { release } from 'node:os';
import { isAppError, messageOf } from '../../base/errors.ts';
import { bpfObject } from './bpf-object.ts';
import { ElfFile } from './elf.ts';
import { findBinaries } from './finder.ts';
import { inspectBinary } from './inspect.ts';
import { UPROBE_TYPE_FILE } from './links.ts';
import { closeObject, loadObject, tryBpf } from './object.ts';
import { loadSyscalls, unsupportedPlatform } from './syscalls.ts';

export interface Finding {
  /** `bad`: the probe cannot run. `warn`: it runs, and sees less. */
  readonly state: 'ok' | 'warn' | 'bad';
  readonly what: string;
  readonly message: string;
}

/** Numbers of capability.h. */
const CAP = { DAC_READ_SEARCH: 2, SYS_PTRACE: 19, SYS_ADMIN: 21, PERFMON: 38, BPF: 39 } as const;
/** Inode numbers of the first PID and user namespaces (proc_ns.h): whoever has them is not in a container's. */
const FIRST_PID_NAMESPACE = 'pid:[4026531836]';
const TRY_RING_BYTES = 4096;
const GIVE =
  'run as root, or give AmbientCapabilities=CAP_BPF CAP_PERFMON CAP_SYS_PTRACE CAP_DAC_READ_SEARCH (systemd), --cap-add of the same four (containers)';

/** All findings, in the order in which they should be put right. */
export function checkProbe(): Finding[] {
  const unsupported = unsupportedPlatform();
  if (unsupported !== null) return [{ state: 'bad', what: 'platform', message: unsupported }];
  const findings: Finding[] = [{ state: 'ok', what: 'platform', message: 'Linux on x86-64' }, kernel()];
  findings.push(
    ...capabilities(),
    uprobes(),
    lockdown(),
    namespaces(),
    object(),
    ...programs(),
    ...servers(),
  );
  return findings;
}

function kernel(): Finding {
  const version = release();
  const [major = 0, minor = 0] = version.split('.').map((part) => Number.parseInt(part, 10));
  const atLeast = (a: number, b: number): boolean => major > a || (major === a && minor >= b);
  if (!atLeast(5, 15))
    return bad(
      'kernel',
      `${version}: the probe needs Linux 5.15 or later (attach cookies); update the kernel`,
    );
  return ok(
    'kernel',
    `${version}${atLeast(6, 6) ? '' : ' (before 6.6: a perf event per function instead of uprobe_multi links)'}; type information (BTF) is not needed`,
  );
}

function capabilities(): Finding[] {
  const mask = BigInt(`0x${/^CapEff:\s+([0-9a-f]+)/m.exec(read('/proc/self/status'))?.[1] ?? '0'}`);
  const has = (bit: number): boolean => (mask & (1n << BigInt(bit))) !== 0n;
  const admin = has(CAP.SYS_ADMIN);
  const need = (name: 'BPF' | 'PERFMON', why: string): Finding =>
    has(CAP[name]) || admin
      ? ok('capability', `CAP_${name}`)
      : bad('capability', `CAP_${name} is missing (${why}): ${GIVE}`);
  const want = (name: 'SYS_PTRACE' | 'DAC_READ_SEARCH', without: string): Finding =>
    has(CAP[name])
      ? ok('capability', `CAP_${name}`)
      : bad('capability', `CAP_${name} is missing (${without}): ${GIVE}`);
  return [
    need('BPF', 'to load programs'),
    need('PERFMON', 'to attach them and to read what a server works on'),
    want('SYS_PTRACE', 'to see which servers run, and who is connected already'),
    want('DAC_READ_SEARCH', 'to open servers’ binaries through /proc'),
  ];
}

function uprobes(): Finding {
  return read(UPROBE_TYPE_FILE) === ''
    ? bad(
        'uprobes',
        `${UPROBE_TYPE_FILE} is not there: mount /sys, or use a kernel with CONFIG_UPROBE_EVENTS`,
      )
    : ok('uprobes', 'the kernel has them');
}

function lockdown(): Finding {
  const state = /\[(\w+)\]/.exec(read('/sys/kernel/security/lockdown'))?.[1] ?? 'none';
  return state === 'confidentiality'
    ? bad(
        'lockdown',
        'the kernel is locked down for confidentiality, and no BPF program may read memory: boot with lockdown=integrity or without',
      )
    : ok('lockdown', state === 'none' ? 'off' : state);
}

function namespaces(): Finding {
  let mine = '';
  try {
    mine = readlinkSync('/proc/self/ns/pid');
  } catch {
    return { state: 'bad', what: 'container', message: '/proc is not mounted: mount it' };
  }
  return mine === FIRST_PID_NAMESPACE
    ? ok('container', 'all processes of the host are visible')
    : {
        state: 'warn',
        what: 'container',
        message:
          'this is a container with a process list of its own: only servers inside it are seen; run it with --pid=host (docker), hostPID: true (Kubernetes)',
      };
}

function object(): Finding {
  try {
    return ok('programs', bpfObject());
  } catch (error) {
    return bad('programs', messageOf(error));
  }
}

/** Whether the kernel takes a map and our programs from this process. */
function programs(): Finding[] {
  try {
    const sys = loadSyscalls();
    tryBpf(sys);
    const path = bpfObject();
    let multi = true;
    try {
      closeObject(sys, loadObject(sys, path, TRY_RING_BYTES, true));
    } catch (error) {
      if (!isAppError(error) || error.code !== 'PROBE_PROGRAM') throw error;
      multi = false;
      closeObject(sys, loadObject(sys, path, TRY_RING_BYTES, false));
    }
    return [ok('bpf', `the kernel takes the programs (${multi ? 'uprobe_multi links' : 'perf links'})`)];
  } catch (error) {
    const seccomp = /^Seccomp:\s+2/m.test(read('/proc/self/status'));
    const hint =
      isAppError(error) && error.kind === 'denied' && seccomp
        ? ' A seccomp filter is active: in a container allow bpf and perf_event_open (--security-opt seccomp=unconfined, or a profile with them)'
        : '';
    return [
      bad('bpf', `${messageOf(error).replace('; "dbwitness probe check" says what is missing', '')}${hint}`),
    ];
  }
}

function servers(): Finding[] {
  const found = [...findBinaries(null).values()];
  const findings = found.map(({ path, program, pids }): Finding => {
    let elf: ElfFile | null = null;
    try {
      elf = new ElfFile(path);
      const inspected = inspectBinary(elf, { maxTextBytes: 0, parameters: false });
      if (inspected === null)
        return { state: 'warn', what: 'server', message: `${program} is no server that the probe knows` };
      const { engine, version, missing } = inspected.inspected;
      const processes = `${pids.length} process${pids.length === 1 ? '' : 'es'}`;
      return missing.length === 0
        ? ok('server', `${program}: ${engine} ${version}, ${processes}`)
        : {
            state: 'warn',
            what: 'server',
            message: `${program}: ${engine} ${version}, ${processes}; not seen: ${missing.join(', ')}`,
          };
    } catch (error) {
      return { state: 'warn', what: 'server', message: `${program}: ${messageOf(error)}` };
    } finally {
      elf?.close();
    }
  });
  return findings.length > 0 ? findings : [ok('server', 'none runs now; those that come will be found')];
}

function ok(what: string, message: string): Finding {
  return { state: 'ok', what, message };
}

function bad(what: string, message: string): Finding {
  return { state: 'bad', what, message };
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
