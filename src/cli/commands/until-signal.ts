/** A command that observes until it is told to stop: SIGINT, SIGTERM or SIGHUP; a second signal ends it at once. */
const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;
type StopSignal = keyof typeof SIGNALS;
/** One Ctrl-C can arrive twice: from the terminal, and from npm, which passes it on. */
const SAME_SIGNAL_MS = 500;

/** `start` begins, and returns what ends it; it may call `stop` itself later. Rejects as either does. */
export async function untilSignal(start: (stop: () => void) => Promise<() => Promise<void>>): Promise<void> {
  let stop: () => void = () => undefined;
  const stopped = new Promise<void>((resolve) => {
    stop = resolve;
  });
  let firstAt: number | null = null;
  const onSignal = (signal: StopSignal): void => {
    if (firstAt !== null && performance.now() - firstAt >= SAME_SIGNAL_MS)
      process.exit(128 + SIGNALS[signal]);
    firstAt ??= performance.now();
    stop();
  };
  const names = Object.keys(SIGNALS) as StopSignal[];
  for (const name of names) process.on(name, onSignal);
  try {
    const end = await start(stop);
    await stopped;
    await end();
  } finally {
    for (const name of names) process.off(name, onSignal);
  }
}
