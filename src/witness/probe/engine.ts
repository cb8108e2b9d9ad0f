/**
 * The probe itself, as it runs in its thread: attaches to the binaries that are found, drains the ring, gives each record
 * to the observer of its binary, and turns what the kernel lost into gap events.
 */
import type { Clock } from '../../base/clock.ts';
import { AppError, isAppError, messageOf } from '../../base/errors.ts';
import { Gap_Reason } from '../../model/events.ts';
import { bpfObject } from './bpf-object.ts';
import { ElfFile, EM_X86_64 } from './elf.ts';
import { EventWriter, type ServerFacts } from './event-writer.ts';
import { contentKey, fileKey, findBinaries, type FoundBinary } from './finder.ts';
import { inspectBinary, type KnownBinary } from './inspect.ts';
import type { Inspected, InspectOptions } from './inspected.ts';
import { attach, detach } from './links.ts';
import { LossCounter } from './losses.ts';
import { closeObject, loadObject, type LoadedObject, MAX_BINARIES, updateMap } from './object.ts';
import type { Observer, ObserverContext } from './observer.ts';
import type { ProbeOptions, ProbeStatus } from './options.ts';
import type { ProcessFacts } from './processes.ts';
import { encodeBinary, u16At } from './records.ts';
import type { Dialects } from './redaction.ts';
import { Ring } from './ring.ts';
import { Servers } from './servers.ts';
import { loadSyscalls, type Syscalls } from './syscalls.ts';
import { KernelTimes } from './times.ts';

interface Attached {
  readonly found: FoundBinary;
  readonly inspected: Inspected;
  readonly elf: ElfFile;
  readonly observer: Observer;
  readonly links: readonly number[];
  servers: Map<string, ServerFacts>;
  pids: readonly number[];
}

export interface EngineDeps {
  readonly clock: Clock;
  readonly dialects: Dialects;
  readonly notice: (level: 'info' | 'warn', message: string) => void;
}

export class ProbeEngine {
  readonly out = new EventWriter();
  readonly #options: ProbeOptions;
  readonly #deps: EngineDeps;
  readonly #sys: Syscalls;
  readonly #object: LoadedObject;
  readonly #ring: Ring;
  readonly #times: KernelTimes;
  readonly #losses: LossCounter;
  readonly #servers = new Servers();
  /** By cookie. */
  readonly #attached: (Attached | null)[] = [null];
  readonly #byKey = new Map<string, Attached>();
  /** Files that cannot be observed, so that each is looked at and complained of once. */
  readonly #refused = new Set<string>();
  readonly #onlyKey: string | null;
  #records = 0;

  /** Loads the programs. @throws AppError that says what is missing. */
  constructor(options: ProbeOptions, deps: EngineDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#sys = loadSyscalls();
    this.#onlyKey = options.path === null ? null : fileKey(options.path);
    if (options.path !== null && this.#onlyKey === null)
      throw new AppError(
        'not-found',
        'PROBE_NO_BINARY',
        `${options.path} cannot be read; name the server's binary`,
      );
    this.#object = load(this.#sys, options);
    this.#ring = new Ring(this.#sys, this.#object.maps.ring, options.ringBytes);
    this.#times = new KernelTimes(deps.clock);
    this.#losses = new LossCounter(this.#sys, this.#object.maps.losses, this.#times.nowUs());
    if (options.path !== null) this.#attachNamed(options.path);
  }

  /** Handles what is in the ring. Returns the number of records. */
  drain(): number {
    this.#times.refresh();
    const records = this.#ring.drain(this.#handle);
    this.#records += records;
    const gap = this.#losses.look(this.#times.nowUs());
    if (gap !== null)
      this.out.gap(gap.fromUs, gap.untilUs, Gap_Reason.RING_OVERFLOW, gap.statements, gap.detail);
    return records;
  }

  /** Attaches to what is new, forgets what is gone. */
  scan(): void {
    const found = findBinaries(this.#onlyKey);
    for (const binary of found.values())
      if (!this.#byKey.has(binary.key) && !this.#refused.has(contentKey(binary.path))) this.#attach(binary);
    for (const [key, attached] of this.#byKey) this.#look(key, attached, found.get(key)?.pids ?? []);
  }

  status(): ProbeStatus {
    const lost = this.#losses.totals;
    return {
      attached: [...this.#byKey.values()].map(({ found, inspected, pids, links }) => ({
        program: found.program,
        engine: inspected.engine,
        version: inspected.version,
        buildId: inspected.buildId,
        hooks: links.length,
        processes: pids.length,
        missing: inspected.missing,
      })),
      records: this.#records,
      lostStatements: lost.statements,
      lostTexts: lost.texts,
      lostOthers: lost.others,
      unreadable: lost.unreadable,
      links: this.#object.multi ? 'multi' : 'perf',
    };
  }

  /** Detaches everything, and writes what is left. */
  stop(): void {
    for (const attached of this.#byKey.values()) detach(this.#sys, attached.links);
    this.drain();
    for (const attached of this.#byKey.values()) {
      attached.observer.flush();
      attached.elf.close();
    }
    const gap = this.#losses.rest(this.#times.nowUs());
    if (gap !== null)
      this.out.gap(gap.fromUs, gap.untilUs, Gap_Reason.RING_OVERFLOW, gap.statements, gap.detail);
    this.#byKey.clear();
    closeObject(this.#sys, this.#object);
  }

  readonly #handle = (data: Buffer, at: number): void => {
    this.#attached[u16At(data, at + 2)]?.observer.handle(u16At(data, at), data, at);
  };

  #attachNamed(path: string): void {
    const key = this.#onlyKey ?? '';
    const running = findBinaries(key).get(key);
    this.#attach(running ?? { key, path, program: path, pids: [] }, true);
  }

  #attach(found: FoundBinary, demanded = false): void {
    let elf: ElfFile | null = null;
    try {
      elf = new ElfFile(found.path);
      if (elf.machine !== EM_X86_64)
        throw new AppError('invalid', 'PROBE_MACHINE', `${found.program} is not for x86-64`);
      const known = inspectBinary(elf, inspectOptions(this.#options));
      if (known === null || !this.#options.engines.includes(known.inspected.engine)) {
        if (demanded)
          throw new AppError(
            'invalid',
            'PROBE_NOT_A_SERVER',
            `${found.program} is no database server that the probe knows`,
          );
        elf.close();
        this.#refused.add(contentKey(found.path));
        return;
      }
      this.#start(found, elf, known);
    } catch (error) {
      elf?.close();
      // A process that ended while it was looked at is no failure; what the kernel refuses once it refuses always.
      if (demanded || (isAppError(error) && error.kind === 'denied')) throw error;
      if (!isAppError(error)) return;
      this.#refused.add(contentKey(found.path));
      this.#deps.notice('warn', messageOf(error));
    }
  }

  #start(found: FoundBinary, elf: ElfFile, { inspected, observe }: KnownBinary): void {
    const cookie = this.#freeCookie();
    updateMap(this.#sys, this.#object.maps.binaries, cookie, encodeBinary(inspected.facts));
    const context: ObserverContext = {
      out: this.out,
      times: this.#times,
      dialects: this.#deps.dialects,
      elf,
      serverUidOf: (pid) => this.#servers.of(pid, found.program, inspected)?.serverUid ?? '',
      wants: (process) => this.#wants(process),
    };
    const observer = observe(context);
    const hooks = inspected.hooks.map(({ program, fileOffset }) => ({
      program: this.#object.programs.get(program) ?? missingProgram(program),
      fileOffset,
    }));
    const links = attach(this.#sys, found.path, hooks, cookie, this.#object.multi);
    const attached: Attached = { found, inspected, elf, observer, links, servers: new Map(), pids: [] };
    this.#attached[cookie] = attached;
    this.#byKey.set(found.key, attached);
    const missing = inspected.missing.length === 0 ? '' : `; not seen: ${inspected.missing.join(', ')}`;
    this.#deps.notice(
      'info',
      `attached to ${found.program} (${inspected.engine} ${inspected.version})${missing}`,
    );
    this.#look(found.key, attached, found.pids);
  }

  #freeCookie(): number {
    for (let cookie = 1; cookie < MAX_BINARIES; cookie++) if (!this.#attached[cookie]) return cookie;
    throw new AppError(
      'exhausted',
      'PROBE_TOO_MANY',
      `more than ${MAX_BINARIES - 1} server binaries run here`,
    );
  }

  /** The processes of a binary, as a scan found them. */
  #look(key: string, attached: Attached, pids: readonly number[]): void {
    const { found, inspected, observer } = attached;
    attached.pids = pids;
    const servers = new Map<string, ServerFacts>();
    for (const pid of pids) {
      const server = this.#servers.of(pid, found.program, inspected);
      if (server !== null && !servers.has(server.serverUid)) servers.set(server.serverUid, server);
    }
    const nowUs = this.#times.nowUs();
    for (const [uid, server] of servers)
      if (!attached.servers.has(uid)) this.out.server(nowUs, server, false);
    for (const [uid, server] of attached.servers) if (!servers.has(uid)) this.out.server(nowUs, server, true);
    attached.servers = servers;
    observer.processes(pids);
    // A file that was replaced, and that nobody runs any more, will not come back.
    if (pids.length === 0 && attached.elf.deleted) this.#detach(key, attached);
  }

  #detach(key: string, attached: Attached): void {
    detach(this.#sys, attached.links);
    this.drain();
    attached.observer.flush();
    attached.elf.close();
    this.#byKey.delete(key);
    this.#attached[this.#attached.indexOf(attached)] = null;
    this.#deps.notice(
      'info',
      `detached from ${attached.found.program} (${attached.inspected.version}): it is gone`,
    );
  }

  #wants({ pid, parent, uid }: ProcessFacts): boolean {
    const { pid: wantedPid, uid: wantedUid } = this.#options;
    if (wantedPid !== null && pid !== wantedPid && parent !== wantedPid) return false;
    return wantedUid === null || uid === wantedUid;
  }
}

function load(sys: Syscalls, { links, ringBytes }: ProbeOptions): LoadedObject {
  const path = bpfObject();
  if (links !== 'auto') return loadObject(sys, path, ringBytes, links === 'multi');
  try {
    return loadObject(sys, path, ringBytes, true);
  } catch (error) {
    // Before Linux 6.6 programs cannot be loaded for uprobe_multi links.
    if (isAppError(error) && error.code === 'PROBE_PROGRAM') return loadObject(sys, path, ringBytes, false);
    throw error;
  }
}

function inspectOptions(options: ProbeOptions): InspectOptions {
  return {
    maxTextBytes: options.maxTextBytes,
    parameters: options.parameters,
    ...(options.functionName === null ? {} : { functionName: options.functionName }),
    ...(options.fileOffset === null ? {} : { fileOffset: options.fileOffset }),
  };
}

function missingProgram(name: string): never {
  throw new AppError('corrupt', 'PROBE_OBJECT', `the BPF object has no program ${name}; build it again`);
}
