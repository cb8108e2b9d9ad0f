/**
 * A disk in memory that does what disks do: loses what was not synced, in part and at sector granularity, when the
 * machine crashes; stops in the middle of any operation when the process is killed; fills; reports errors; and after a
 * failed fsync forgets the pages while pretending that all is well ("fsyncgate"). Driven by a seed, so that every run
 * can be repeated. Without faults it is simply a file system in memory, which `verify` runs on in tests.
 */
import { AppError } from '../base/errors.ts';
import type { Disk, DiskEntry, DiskFile, DiskLock } from './disk.ts';

const SECTOR = 512;

/** Ends the simulated process: whatever operation throws it was not, or only partly, done. */
export class SimulatedCrash extends Error {
  override readonly name = 'SimulatedCrash';
}

/** mulberry32: small, seeded, good enough to pick faults. Returns values in [0, 1). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

interface Change {
  /** -1: a truncation to `length`. */
  readonly position: number;
  readonly bytes: Buffer;
  readonly length: number;
}

/** A file's content as the page cache has it, what of it is durable, and the changes in between. */
class Inode {
  cached: Buffer = Buffer.alloc(0);
  durable: Buffer = Buffer.alloc(0);
  changes: Change[] = [];

  apply(change: Change): void {
    if (this.cached === this.durable) this.cached = Buffer.from(this.durable);
    this.cached = applied(this.cached, change);
    this.changes.push(change);
  }
}

function applied(content: Buffer, change: Change): Buffer {
  if (change.position < 0) {
    if (change.length <= content.length) return Buffer.from(content.subarray(0, change.length));
    return Buffer.concat([content, Buffer.alloc(change.length - content.length)]);
  }
  const end = change.position + change.bytes.length;
  let next = content;
  if (end > content.length) {
    next = Buffer.alloc(end);
    content.copy(next);
  }
  change.bytes.copy(next, change.position);
  return next;
}

interface NameChange {
  readonly folder: string;
  readonly apply: (names: Map<string, Inode>) => void;
}

export interface Faults {
  /** Chances per operation, 0 … 1. */
  writeError: number;
  shortWrite: number;
  syncError: number;
  /** Bytes that all files together may have. */
  capacity: number;
  /** The process dies in the operation after this many more; -1 never. */
  killAfter: number;
}

export class SimulatedDisk implements Disk {
  readonly faults: Faults = {
    writeError: 0,
    shortWrite: 0,
    syncError: 0,
    capacity: Infinity,
    killAfter: -1,
  };
  readonly #random: () => number;
  #names = new Map<string, Inode>();
  #durableNames = new Map<string, Inode>();
  #nameChanges: NameChange[] = [];
  readonly #folders = new Set<string>();
  readonly #locks = new Set<string>();
  /** Locks whose owner died. */
  readonly #dead = new Set<string>();
  #running = true;
  #usedBytes = 0;

  constructor(seed = 1) {
    this.#random = seededRandom(seed);
  }

  /** The content of every file, as views: a change to them changes the file, on disk and in cache. For tampering. */
  files(): Map<string, Buffer> {
    return new Map([...this.#names].map(([path, inode]) => [path, inode.cached]));
  }

  /** A copy without faults, everything durable. */
  snapshot(): SimulatedDisk {
    const copy = new SimulatedDisk();
    for (const [path, content] of this.files()) copy.set(path, Buffer.from(content));
    return copy;
  }

  /** Puts a file there as somebody else would. */
  set(path: string, content: Buffer): void {
    const inode = new Inode();
    inode.cached = content;
    inode.durable = content;
    this.#names.set(path, inode);
    this.#durableNames.set(path, inode);
    this.#addFolders(path.slice(0, path.lastIndexOf('/')));
  }

  delete(path: string): void {
    this.#names.delete(path);
    this.#durableNames.delete(path);
  }

  /** `false` after the process died in an operation; {@link killProcess} or {@link crashMachine} makes a new one. */
  get running(): boolean {
    return this.#running;
  }

  /** The process is gone, the machine runs on: the page cache survives. */
  killProcess(): void {
    this.#afterDeath();
  }

  /** The machine lost power: of what was not synced, anything may be there or not. */
  crashMachine(): void {
    const kept = Math.floor(this.#random() * (this.#nameChanges.length + 1));
    const names = new Map(this.#durableNames);
    // A journaling file system keeps the order of its metadata: some first part of it is there.
    for (const change of this.#nameChanges.slice(0, kept)) change.apply(names);
    this.#names = names;
    this.#durableNames = new Map(names);
    for (const inode of new Set(names.values())) this.#tear(inode);
    this.#nameChanges = [];
    this.#usedBytes = [...names.values()].reduce((sum, inode) => sum + inode.cached.length, 0);
    this.#afterDeath();
  }

  open(path: string, mode: 'read' | 'update' | 'create'): DiskFile {
    this.#step();
    const found = this.#names.get(path);
    if (mode === 'create' ? found !== undefined : found === undefined)
      throw systemError(mode === 'create' ? 'EEXIST' : 'ENOENT', path);
    const inode = found ?? this.#create(path);
    return new SimulatedFile(this, inode, mode !== 'read');
  }

  readFile(path: string): Buffer {
    this.#step();
    const inode = this.#names.get(path);
    if (inode === undefined) throw systemError('ENOENT', path);
    return inode.cached;
  }

  writeFile(path: string, bytes: Uint8Array): void {
    this.#step();
    const inode = this.#names.get(path) ?? this.#create(path);
    this.change(inode, { position: -1, bytes: Buffer.alloc(0), length: 0 });
    for (let at = 0; at < bytes.length; ) at += this.write(inode, bytes, at, bytes.length - at, at);
  }

  exists(path: string): boolean {
    this.#step();
    return this.#names.has(path);
  }

  list(path: string): DiskEntry[] {
    this.#step();
    const found = new Map<string, boolean>();
    const prefix = `${path}/`;
    for (const name of this.#names.keys()) {
      if (!name.startsWith(prefix)) continue;
      const rest = name.slice(prefix.length);
      const slash = rest.indexOf('/');
      found.set(slash < 0 ? rest : rest.slice(0, slash), slash >= 0);
    }
    return [...found].map(([name, folder]) => ({ name, folder })).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  makeFolder(path: string): void {
    this.#step();
    // Folders are durable at once: our code makes them before it uses them and losing them loses no more than files.
    this.#addFolders(path);
  }

  rename(from: string, to: string): void {
    this.#step();
    if (!this.#names.has(from)) throw systemError('ENOENT', from);
    this.#changeName(to, (names) => {
      const inode = names.get(from);
      if (inode === undefined) return;
      names.delete(from);
      names.set(to, inode);
    });
  }

  remove(path: string): void {
    this.#step();
    const inode = this.#names.get(path);
    if (inode === undefined) throw systemError('ENOENT', path);
    this.#usedBytes -= inode.cached.length;
    this.#changeName(path, (names) => names.delete(path));
  }

  removeFolder(path: string): void {
    this.#step();
    const inside = (name: string): boolean => name.startsWith(`${path}/`);
    for (const [name, inode] of this.#names) if (inside(name)) this.#usedBytes -= inode.cached.length;
    this.#changeName(path, (names) => {
      for (const name of names.keys()) if (inside(name)) names.delete(name);
    });
  }

  syncFolder(path: string): void {
    this.#step();
    if (this.#random() < this.faults.syncError) throw systemError('EIO', path);
    const rest: NameChange[] = [];
    for (const change of this.#nameChanges)
      if (change.folder === path) change.apply(this.#durableNames);
      else rest.push(change);
    this.#nameChanges = rest;
  }

  freeBytes(): number {
    return this.faults.capacity - this.#usedBytes;
  }

  lock(path: string): DiskLock {
    if (this.#locks.has(path)) throw new AppError('conflict', 'JOURNAL_LOCKED', `${path} is held`);
    const stale = this.#dead.delete(path);
    this.#locks.add(path);
    return {
      stale,
      release: () => {
        if (this.#running) this.#locks.delete(path);
      },
    };
  }

  // ---- called by open files ---------------------------------------------------------------------------------

  /** @internal */
  write(inode: Inode, from: Uint8Array, offset: number, length: number, position: number): number {
    const dies = this.#dying();
    if (!dies && this.#random() < this.faults.writeError) throw systemError('EIO', 'write');
    const grows = Math.max(0, position + length - inode.cached.length);
    const room = Math.max(0, this.faults.capacity - this.#usedBytes);
    let count = length;
    if (grows > room) {
      count = length - (grows - room);
      if (count <= 0) throw systemError('ENOSPC', 'write');
    }
    if (dies || this.#random() < this.faults.shortWrite) count = Math.floor(this.#random() * (count + 1));
    if (count > 0)
      this.change(inode, {
        position,
        bytes: Buffer.from(from.subarray(offset, offset + count)),
        length: count,
      });
    if (dies) throw new SimulatedCrash('killed while writing');
    if (count === 0) throw systemError('EIO', 'write');
    return count;
  }

  /** @internal */
  change(inode: Inode, change: Change): void {
    const before = inode.cached.length;
    inode.apply(change);
    this.#usedBytes += inode.cached.length - before;
  }

  /** @internal */
  datasync(inode: Inode): void {
    this.#step();
    if (this.#random() < this.faults.syncError) {
      // The kernel marks the pages clean although some never reached the medium, and will not try them again.
      inode.changes = inode.changes.filter((change) => change.position < 0 || this.#random() < 0.5);
      this.#settle(inode, true);
      throw systemError('EIO', 'fdatasync');
    }
    this.#settle(inode, false);
  }

  /** @internal */
  step(): void {
    this.#step();
  }

  // ---- inside -----------------------------------------------------------------------------------------------

  /** Makes the pending changes durable. `partly`: only what survived the filter, the length included. */
  #settle(inode: Inode, partly: boolean): void {
    let content = inode.durable === inode.cached ? Buffer.from(inode.durable) : inode.durable;
    for (const change of inode.changes) content = applied(content, change);
    if (partly && content.length < inode.cached.length)
      content = applied(content, { position: -1, bytes: Buffer.alloc(0), length: inode.cached.length });
    inode.durable = content;
    inode.changes = [];
  }

  #tear(inode: Inode): void {
    let content = inode.durable === inode.cached ? Buffer.from(inode.durable) : inode.durable;
    for (const change of inode.changes) {
      if (change.position < 0) {
        if (this.#random() < 0.5) content = applied(content, change);
        continue;
      }
      for (let at = 0; at < change.bytes.length; ) {
        // Up to the next sector's border, measured in the file.
        const end = Math.min(change.bytes.length, at + SECTOR - ((change.position + at) % SECTOR));
        const bytes = change.bytes.subarray(at, end);
        if (this.#random() < 0.6)
          content = applied(content, { position: change.position + at, bytes, length: bytes.length });
        at = end;
      }
    }
    inode.cached = Buffer.from(content);
    inode.durable = content;
    inode.changes = [];
  }

  #create(path: string): Inode {
    const folder = path.slice(0, path.lastIndexOf('/'));
    if (!this.#folders.has(folder)) throw systemError('ENOENT', path);
    const inode = new Inode();
    this.#changeName(path, (names) => names.set(path, inode));
    return inode;
  }

  #changeName(path: string, apply: (names: Map<string, Inode>) => void): void {
    apply(this.#names);
    this.#nameChanges.push({ folder: path.slice(0, path.lastIndexOf('/')), apply });
  }

  #addFolders(path: string): void {
    for (let at = path.length; at > 0; at = path.lastIndexOf('/', at - 1))
      this.#folders.add(path.slice(0, at));
  }

  #dying(): boolean {
    if (!this.#running) throw new SimulatedCrash('the process is dead');
    if (this.faults.killAfter < 0) return false;
    if (this.faults.killAfter-- > 0) return false;
    this.#running = false;
    return true;
  }

  #step(): void {
    if (this.#dying()) throw new SimulatedCrash('killed');
  }

  #afterDeath(): void {
    this.#running = true;
    this.faults.killAfter = -1;
    for (const lock of this.#locks) this.#dead.add(lock);
    this.#locks.clear();
  }
}

class SimulatedFile implements DiskFile {
  readonly #disk: SimulatedDisk;
  readonly #inode: Inode;
  readonly #writable: boolean;

  constructor(disk: SimulatedDisk, inode: Inode, writable: boolean) {
    this.#disk = disk;
    this.#inode = inode;
    this.#writable = writable;
  }

  read(into: Uint8Array, offset: number, length: number, position: number): number {
    this.#disk.step();
    const part = this.#inode.cached.subarray(position, position + length);
    into.set(part, offset);
    return part.length;
  }

  write(from: Uint8Array, offset: number, length: number, position: number): number {
    if (!this.#writable) throw systemError('EBADF', 'write');
    return this.#disk.write(this.#inode, from, offset, length, position);
  }

  size(): number {
    this.#disk.step();
    return this.#inode.cached.length;
  }

  datasync(): void {
    this.#disk.datasync(this.#inode);
  }

  truncate(length: number): void {
    this.#disk.step();
    this.#disk.change(this.#inode, { position: -1, bytes: Buffer.alloc(0), length });
  }

  close(): void {}
}

function systemError(code: string, what: string): Error {
  return Object.assign(new Error(`${code}: simulated, ${what}`), { code });
}
