/** Which side of a session is read at the moment. A side is read again when every reason not to has gone. */
import type { Link } from '../../transport/link.ts';

/** Reasons; bits. */
export const PAUSE = {
  /** The other side does not take what we have for it. */
  backlog: 1,
  /** Too many requests wait for their answers. */
  pipeline: 2,
  /** A statement is being parsed elsewhere. */
  parsing: 4,
  /** Records wait for the journal. */
  journal: 8,
  /** The client does not take the answers that we gave it ourselves. */
  answers: 16,
} as const;

export class FlowControl {
  readonly #client: Link;
  readonly #upstream: Link;
  #clientReasons = 0;
  #upstreamReasons = 0;

  constructor(client: Link, upstream: Link) {
    this.#client = client;
    this.#upstream = upstream;
  }

  get pipelineWaits(): boolean {
    return (this.#clientReasons & PAUSE.pipeline) !== 0;
  }

  pauseClient(why: number): void {
    this.#clientReasons |= why;
    this.#client.pause();
  }

  resumeClient(why: number): void {
    this.#clientReasons &= ~why;
    if (this.#clientReasons === 0 && !this.#client.closed) this.#client.resume();
  }

  pauseUpstream(why: number): void {
    this.#upstreamReasons |= why;
    this.#upstream.pause();
  }

  resumeUpstream(why: number): void {
    this.#upstreamReasons &= ~why;
    if (this.#upstreamReasons === 0 && !this.#upstream.closed) this.#upstream.resume();
  }

  pauseBoth(why: number): void {
    this.pauseClient(why);
    this.pauseUpstream(why);
  }

  resumeBoth(why: number): void {
    this.resumeClient(why);
    this.resumeUpstream(why);
  }
}
