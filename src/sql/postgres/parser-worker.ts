/** A worker thread of `parser-pool.ts`: classifies one text after the other with a parser of its own. */
import { parentPort } from 'node:worker_threads';
import type { WorkerRequest } from '../worker-pool.ts';
import { Classifier } from './classifier.ts';
import { ParserInstance } from './instance.ts';

const port = parentPort;
const parser = await ParserInstance.load();
const classifier = new Classifier(parser, Number.MAX_SAFE_INTEGER);

port?.on('message', ({ text, settings }: WorkerRequest) => {
  const bytes = Buffer.from(text.buffer, text.byteOffset, text.byteLength);
  const classification = classifier.classify(bytes, 0, bytes.length, settings);
  // Instances that broke are replaced only between messages.
  void parser.ready().then(() => port.postMessage(classification));
});
