/** The indexer's thread: the store's loop with our decoder. */
import { serveIndexer } from '../../store/indexer-thread.ts';
import { createDecoder } from '../decoder.ts';

await serveIndexer(await createDecoder());
