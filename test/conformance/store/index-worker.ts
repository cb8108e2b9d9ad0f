/** The indexer's thread with the tests' decoder. */
import { serveIndexer } from '../../../src/store/indexer-thread.ts';
import createDecoder from './decoder.ts';

await serveIndexer(createDecoder());
