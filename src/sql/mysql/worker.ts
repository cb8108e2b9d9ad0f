/** A worker thread of `../worker-pool.ts`: classifies, or splits and redacts, long texts, one after the other. */
import { parentPort, workerData } from 'node:worker_threads';
import type { LexicalSettings } from '../dialect.ts';
import type { WorkerRequest } from '../worker-pool.ts';
import { Classifier } from './classifier.ts';
import type { MysqlLongText } from './dialect.ts';
import type { Flavour } from './readings.ts';
import { type PreparedRedaction, redact, redactPrepared } from './redact.ts';
import { split } from './split.ts';

const port = parentPort;
const flavour = workerData as Flavour;
const classifier = new Classifier(flavour, Number.MAX_SAFE_INTEGER);

port?.on('message', ({ task, text, settings }: WorkerRequest) => {
  const bytes = Buffer.from(text.buffer, text.byteOffset, text.byteLength);
  if (task === 'classify') {
    port.postMessage(classifier.classify(bytes, 0, bytes.length, settings));
    return;
  }
  const answer = read(bytes, settings);
  port.postMessage(
    answer,
    answer.redacted.flatMap((one) => (one === null ? [] : [one.buffer as ArrayBuffer])),
  );
});

function read(bytes: Buffer, settings: LexicalSettings): MysqlLongText {
  const { length } = bytes;
  if (settings.prepared === true) {
    const whole = redactPrepared(bytes, 0, length, settings);
    return { spans: [{ start: 0, end: length }], redacted: [ownText(whole)], secrets: whole.secrets };
  }
  const spans = split(bytes, 0, length, flavour, settings);
  const redacted = spans.map((span) => ownText(redact(bytes, span.start, span.end, settings)));
  return { spans, redacted, secrets: null };
}

/** In memory of its own: what is shared cannot be handed over. */
function ownText({ text, redacted }: Pick<PreparedRedaction, 'text' | 'redacted'>): Uint8Array | null {
  return redacted ? new Uint8Array(text) : null;
}
