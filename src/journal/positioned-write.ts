/**
 * `pwrite(2)` without what `fs.writeSync` does around it, for the one write that every turn of the relay waits for: it
 * takes half the time. Where it cannot be had, and whenever it fails, `fs.writeSync` does it and says why.
 */
import { createRequire } from 'node:module';

type Koffi = typeof import('koffi');
type Write = (fd: number, from: Uint8Array, offset: number, length: number, position: number) => number;

/**
 * Buffers from this size on are taken: their memory never moves, and they live long, so that asking for their address
 * once pays. Smaller ones may lie within V8's heap.
 */
const MIN_BUFFER_BYTES = 256 * 1024;
const REFUSED = -1;

let write: Write | null = null;

/** Writes `from[offset, offset + length)` at `position`; returns how much, or a negative number: not done this way. */
export function positionedWrite(
  fd: number,
  from: Uint8Array,
  offset: number,
  length: number,
  position: number,
): number {
  if (from.length < MIN_BUFFER_BYTES) return REFUSED;
  write ??= load();
  return write(fd, from, offset, length, position);
}

function load(): Write {
  if (process.platform !== 'linux' || (process.arch !== 'x64' && process.arch !== 'arm64'))
    return () => REFUSED;
  try {
    return bind(createRequire(import.meta.url)('koffi') as Koffi);
  } catch {
    return () => REFUSED;
  }
}

function bind(koffi: Koffi): Write {
  const pwrite = koffi.load(null).func('int pwrite(int, uintptr_t, size_t, int64_t)') as unknown as (
    fd: number,
    address: number,
    length: number,
    position: number,
  ) => number;
  // Referenced here, so that its memory stays as long as its address is used.
  let known: Uint8Array | null = null;
  let address = 0;
  return (fd, from, offset, length, position) => {
    if (from !== known) {
      address = Number(koffi.address(from));
      known = from;
    }
    return pwrite(fd, address + offset, length, position);
  };
}
