/**
 * The compressed protocol: packets are put one behind the other, cut anywhere, and sent in frames of their own.
 *
 *   offset 0  int<3>  bytes of this frame's contents, as they are here
 *   offset 3  int<1>  sequence id of the frame: counts frames, not packets
 *   offset 4  int<3>  bytes of the contents when expanded; 0: they are not compressed
 *   offset 7          contents: a zlib stream (RFC 1950) or a zstd frame (RFC 8878)
 *
 * A bomb is bounded by the header: no frame expands to more than 2^24−1 bytes, and expansion stops at what it announced.
 */
import { constants, deflateSync, inflateSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import type { ByteWriter } from '../../base/bytes.ts';
import { AppError, systemErrorCode } from '../../base/errors.ts';
import { MAX_PACKET_BYTES } from './protocol.ts';
import { malformed, uint24At } from './reader.ts';
import { writeU24 } from './writer.ts';

export type CompressionAlgorithm = 'zlib' | 'zstd';

export const COMPRESSED_HEADER_BYTES = 7;
/** Shorter contents are sent as they are: MIN_COMPRESS_LENGTH of both servers. */
const MIN_COMPRESS_BYTES = 50;
/** A zstd frame may ask for a window of gigabytes; no contents here are longer than 2^24 bytes. */
const MAX_ZSTD_WINDOW_LOG = 24;

/** Where a compressed frame is. */
export class FrameCursor {
  start = 0;
  /** Offset of the contents. */
  contents = 0;
  /** Offset behind the frame; −1 while the header is incomplete. */
  end = -1;
  sequence = 0;
  /** 0: not compressed. */
  expandedBytes = 0;
}

/** Looks at the frame that starts at `at` in `bytes[at, end)`. Returns whether it is there as a whole. */
export function nextFrame(bytes: Uint8Array, at: number, end: number, cursor: FrameCursor): boolean {
  cursor.start = at;
  cursor.contents = at + COMPRESSED_HEADER_BYTES;
  if (end - at < COMPRESSED_HEADER_BYTES) {
    cursor.end = -1;
    return false;
  }
  cursor.sequence = bytes[at + 3];
  cursor.expandedBytes = uint24At(bytes, at + 4);
  cursor.end = cursor.contents + uint24At(bytes, at);
  return cursor.end <= end;
}

/**
 * The packets' bytes in a whole frame: a view when it is not compressed.
 * @throws AppError `protocol`: WIRE_MESSAGE_MALFORMED (not a stream of the algorithm, or not of the announced length).
 */
export function expandFrame(bytes: Buffer, cursor: FrameCursor, algorithm: CompressionAlgorithm): Buffer {
  const contents = bytes.subarray(cursor.contents, cursor.end);
  if (cursor.expandedBytes === 0) return contents;
  const expanded = expand(contents, cursor.expandedBytes, algorithm);
  if (expanded.length !== cursor.expandedBytes)
    throw malformed('compressed', `it expands to ${expanded.length} bytes, not ${cursor.expandedBytes}`);
  return expanded;
}

function expand(contents: Buffer, maxOutputLength: number, algorithm: CompressionAlgorithm): Buffer {
  try {
    return algorithm === 'zlib'
      ? inflateSync(contents, { maxOutputLength })
      : zstdDecompressSync(contents, {
          maxOutputLength,
          params: { [constants.ZSTD_d_windowLogMax]: MAX_ZSTD_WINDOW_LOG },
        });
  } catch (error) {
    // Node's own codes; whatever it is, these bytes are at fault.
    const code = systemErrorCode(error);
    throw new AppError(
      'protocol',
      'WIRE_MESSAGE_MALFORMED',
      `A compressed packet is malformed: ${
        code === 'ERR_BUFFER_TOO_LARGE'
          ? `it expands to more than ${maxOutputLength} bytes`
          : `it is not ${algorithm}`
      }. Check the driver, or what stands between it and dbwitness.`,
      { details: { message: 'compressed', problem: code ?? 'unknown' } },
    );
  }
}

/**
 * Writes `bytes[start, end)`, which are packets, as frames.
 * @param level of zlib 1 to 9, of zstd 1 to 22.
 * @returns the sequence id of the next frame.
 */
export function writeFrames(
  out: ByteWriter,
  bytes: Buffer,
  start: number,
  end: number,
  sequence: number,
  algorithm: CompressionAlgorithm,
  level: number,
): number {
  let id = sequence & 0xff;
  for (let at = start; at < end; ) {
    const stop = Math.min(end, at + MAX_PACKET_BYTES);
    writeFrame(out, bytes.subarray(at, stop), id, algorithm, level);
    id = (id + 1) & 0xff;
    at = stop;
  }
  return id;
}

function writeFrame(
  out: ByteWriter,
  contents: Buffer,
  sequence: number,
  algorithm: CompressionAlgorithm,
  level: number,
): void {
  const compressed = contents.length < MIN_COMPRESS_BYTES ? null : compress(contents, algorithm, level);
  const smaller = compressed !== null && compressed.length < contents.length ? compressed : null;
  writeU24(out, (smaller ?? contents).length);
  out.u8(sequence);
  writeU24(out, smaller === null ? 0 : contents.length);
  out.raw(smaller ?? contents);
}

function compress(contents: Buffer, algorithm: CompressionAlgorithm, level: number): Buffer {
  return algorithm === 'zlib'
    ? deflateSync(contents, { level })
    : zstdCompressSync(contents, { params: { [constants.ZSTD_c_compressionLevel]: level } });
}
