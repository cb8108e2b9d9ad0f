/** `dbwitness probe`: what the database servers of this machine run, seen from the kernel. docs/probe.md */
import { fromBinary } from '@bufbuild/protobuf';
import type { AppError } from '../../base/errors.ts';
import { EventSchema } from '../../model/events.ts';
import { checkProbe } from '../../witness/probe/check.ts';
import { eventsOf } from '../../witness/probe/event-writer.ts';
import type { ProbedEngine } from '../../witness/probe/inspected.ts';
import { defaultProbeOptions, type ProbeOptions } from '../../witness/probe/options.ts';
import { Probe } from '../../witness/probe/probe.ts';
import { usage } from '../amounts.ts';
import type { Commands, Context } from '../context.ts';
import { EXIT_BY_KIND } from '../exit-codes.ts';
import { eventJson, eventLine, type LineForm, longLine, mysqldLine, postgresLine } from './probe-lines.ts';
import { ringBytes, wholeNumber } from './probe-options.ts';
import { addProbeRunCommand } from './probe-run.ts';
import { untilSignal } from './until-signal.ts';

interface LineOptions {
  readonly mysqld?: string;
  readonly postgres?: string;
  readonly offset?: number;
  readonly funcname?: string;
  readonly pid?: number;
  readonly uid?: number;
  readonly hex?: boolean;
  readonly long?: boolean;
  readonly parameters?: boolean;
  readonly ring?: string;
}

export function addProbeCommands({ program, action }: Commands): void {
  const probe = program
    .command('probe')
    .summary('what the database servers of this machine run, seen from the kernel')
    .description('Sees every statement that the database servers of this machine run, whoever sent it.');
  addProbeRunCommand(probe, action);
  const lines = (name: string, what: string): ReturnType<typeof probe.command> =>
    probe
      .command(name)
      .description(
        `Prints a line for each statement that ${what} runs, until it is told to stop (Ctrl-C). Without a path it finds the servers that run, and those that start later.`,
      )
      .option('-f, --funcname <name>', 'attach to this symbol instead of the one that is looked for')
      .option('--pid <pid>', 'only of this process and its children', wholeNumber)
      .option('--uid <uid>', 'only of servers of this user id', wholeNumber)
      .option('--hex', 'print texts as hexadecimal numbers')
      .option('--long', 'print who, from where, how long and with what outcome')
      .option('--parameters', 'record parameters of prepared statements (PostgreSQL)')
      .option('--ring <size>', 'size of the ring buffer, a power of two (default: 64MiB)');
  lines('mysqld', 'MySQL or MariaDB')
    .option('-m, --mysqld <path>', 'the server’s binary')
    .option('--offset <offset>', 'where dispatch_command lies in that file (0x…)', wholeNumber)
    .action(
      action<LineOptions>((context, options) =>
        print(context, options, ['mysql', 'mariadb'], options.mysqld, mysqldLine(options.hex === true)),
      ),
    );
  lines('postgres', 'PostgreSQL')
    .option('-m, --postgres <path>', 'the server’s binary')
    .action(
      action<LineOptions>((context, options) =>
        print(context, options, ['postgres'], options.postgres, postgresLine(options.hex === true)),
      ),
    );
  probe
    .command('check')
    .description('Says in one line each what the probe needs here, whether it is there, and how to give it.')
    .action(action(check));
}

function probeOptions(
  options: LineOptions,
  engines: readonly ProbedEngine[],
  path: string | undefined,
): ProbeOptions {
  if (path === undefined && (options.offset !== undefined || options.funcname !== undefined))
    throw usage('name the binary that --offset or --funcname is about, with -m');
  return {
    ...defaultProbeOptions,
    engines,
    path: path ?? null,
    functionName: options.funcname ?? null,
    fileOffset: options.offset ?? null,
    pid: options.pid ?? null,
    uid: options.uid ?? null,
    parameters: options.parameters === true,
    ringBytes: options.ring === undefined ? defaultProbeOptions.ringBytes : ringBytes(options.ring),
  };
}

async function print(
  context: Context,
  options: LineOptions,
  engines: readonly ProbedEngine[],
  path: string | undefined,
  form: LineForm,
): Promise<void> {
  const chosen = probeOptions(options, engines, path);
  const line = options.long === true ? longLine(options.hex === true) : form;
  let failure: AppError | null = null;
  await untilSignal(async (stop) => {
    const probe = await Probe.start(chosen, {
      onBatch: (batch) => {
        for (const bytes of eventsOf(batch)) printEvent(context, bytes, line, options.long === true);
      },
      onNotice: (_level, message) => context.io.note(message),
      onFailure: (error) => {
        failure = error;
        stop();
      },
    });
    return async () => {
      const { lostStatements } = await probe.stop();
      if (lostStatements > 0)
        context.io.note(`${lostStatements} statements were lost: the ring buffer was full`);
    };
  });
  if (failure !== null) throw failure;
}

function printEvent(context: Context, bytes: Uint8Array, form: LineForm, long: boolean): void {
  const event = fromBinary(EventSchema, bytes);
  if (context.out.json) return context.out.line(eventJson(event));
  const { body } = event;
  if (body.case === 'observation') {
    // Commands without a text (init_db, process_kill) have no place in the line forms.
    if (body.value.sql.length > 0 || long) context.io.write(`${form(body.value, event)}\n`);
    return;
  }
  if (body.case === 'gap' && !long) context.io.note(body.value.detail);
  const line = long ? eventLine(event) : null;
  if (line !== null) context.io.write(`${line}\n`);
}

function check(context: Context): Promise<void> {
  const findings = checkProbe();
  if (findings.some(({ state }) => state === 'bad')) context.exitCode = EXIT_BY_KIND.unavailable;
  const words = { ok: 'ok', warn: 'note', bad: 'MISSING' } as const;
  for (const finding of findings)
    context.out.done(
      finding,
      `${words[finding.state].padEnd(8)}${finding.what.padEnd(11)}${finding.message}`,
    );
  return Promise.resolve();
}
