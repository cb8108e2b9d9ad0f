/**
 * Talk between the two processes of a node: the relay, whose event loop does nothing else, and the node's own process
 * with store, access and API. Requests have one answer; notices have none. The channel is Node's IPC pipe with
 * structured clone, so byte arrays travel as they are.
 *
 *   node process ──spawns──▶ relay process
 *        │  ◀─ challenge, checkSecret, permit ─┤   (log-ins)
 *        ├─ append, sessions, drain ─▶         │   (control-plane events into the journal)
 *        │  ◀─ proved, usage, report ──────────┤
 *        ├─ notice ─▶                          │   (grants that ended, sessions to kill)
 */
import type { ChildProcess } from 'node:child_process';
import { AppError, type ErrorDetails, type ErrorKind, isAppError, messageOf } from '../base/errors.ts';

/** What both `process` and a `ChildProcess` are. */
export type Pipe = ChildProcess | NodeJS.Process;

interface WireError {
  readonly kind: ErrorKind;
  readonly code: string;
  readonly message: string;
  readonly details: ErrorDetails;
}

type Frame =
  | { readonly f: 'request'; readonly id: number; readonly method: string; readonly body: unknown }
  | { readonly f: 'answer'; readonly id: number; readonly body: unknown }
  | { readonly f: 'error'; readonly id: number; readonly error: WireError }
  | { readonly f: 'notice'; readonly method: string; readonly body: unknown };

/** Requests waiting for their answer; more are refused. */
const MAX_WAITING = 20_000;

/** Methods of one side: request body and answer by name. */
export type Methods = Record<string, { readonly body: unknown; readonly answer: unknown }>;

/**
 * One end. `Ours` are the methods that we answer, `Theirs` those that we may call; notices are methods whose answer is
 * `void` and not waited for.
 */
export class Channel<Ours extends Methods, Theirs extends Methods> {
  readonly #pipe: Pipe;
  readonly #handlers = new Map<string, (body: unknown) => unknown>();
  readonly #waiting = new Map<
    number,
    { resolve: (value: unknown) => void; reject: (error: Error) => void }
  >();
  #nextId = 1;
  #connected = true;

  constructor(pipe: Pipe, onDisconnect: () => void) {
    this.#pipe = pipe;
    pipe.on('message', (message) => void this.#receive(message as Frame));
    pipe.on('disconnect', () => {
      this.#connected = false;
      const gone = unreachableError();
      for (const waiting of this.#waiting.values()) waiting.reject(gone);
      this.#waiting.clear();
      onDisconnect();
    });
  }

  handle<M extends keyof Ours & string>(
    method: M,
    handler: (body: Ours[M]['body']) => Ours[M]['answer'] | Promise<Ours[M]['answer']>,
  ): void {
    this.#handlers.set(method, handler);
  }

  /** Rejects with `unavailable` when the other process is gone, or with the error that its handler threw. */
  request<M extends keyof Theirs & string>(method: M, body: Theirs[M]['body']): Promise<Theirs[M]['answer']> {
    if (!this.#connected) return Promise.reject(unreachableError());
    if (this.#waiting.size >= MAX_WAITING)
      return Promise.reject(
        new AppError('exhausted', 'APP_IPC_BUSY', 'too many requests are waiting; try again'),
      );
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#send({ f: 'request', id, method, body });
    });
  }

  notify<M extends keyof Theirs & string>(method: M, body: Theirs[M]['body']): void {
    if (this.#connected) this.#send({ f: 'notice', method, body });
  }

  #send(frame: Frame): void {
    // A pipe that breaks is told by `disconnect`, which rejects what waits.
    this.#pipe.send?.(frame, undefined, undefined, () => undefined);
  }

  async #receive(frame: Frame): Promise<void> {
    switch (frame.f) {
      case 'request':
        try {
          this.#send({ f: 'answer', id: frame.id, body: await this.#call(frame.method, frame.body) });
        } catch (error) {
          this.#send({ f: 'error', id: frame.id, error: toWire(error) });
        }
        break;
      case 'notice':
        await this.#call(frame.method, frame.body);
        break;
      case 'answer':
        this.#take(frame.id)?.resolve(frame.body);
        break;
      case 'error': {
        const { kind, code, message, details } = frame.error;
        this.#take(frame.id)?.reject(new AppError(kind, code, message, { details }));
        break;
      }
    }
  }

  #call(method: string, body: unknown): unknown {
    const handler = this.#handlers.get(method);
    if (!handler)
      throw new AppError('invalid', 'APP_IPC_METHOD', `the other process does not know ${method}`);
    return handler(body);
  }

  #take(id: number) {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    return waiting;
  }
}

function unreachableError(): AppError {
  return new AppError(
    'unavailable',
    'APP_PROCESS_GONE',
    'the other process of this dbwitness node cannot be reached; it is being restarted, try again in a moment',
  );
}

function toWire(error: unknown): WireError {
  if (isAppError(error))
    return { kind: error.kind, code: error.code, message: error.message, details: error.details };
  return { kind: 'unavailable', code: 'APP_INTERNAL', message: messageOf(error), details: {} };
}
