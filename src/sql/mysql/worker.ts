/** A worker thread of `../worker-pool.ts`: classifies long texts, one after the other. */
import { parentPort, workerData } from 'node:worker_threads';
import type { WorkerRequest } from '../worker-pool.ts';
import { Classifier } from './classifier.ts';
import type { Flavour } from './readings.ts';

const port = parentPort;
const classifier = new Classifier(workerData as Flavour, Number.MAX_SAFE_INTEGER);

port?.on('message', ({ text, settings }: WorkerRequest) => {
  const bytes = Buffer.from(text.buffer, text.byteOffset, text.byteLength);
  port.postMessage(classifier.classify(bytes, 0, bytes.length, settings));
});
