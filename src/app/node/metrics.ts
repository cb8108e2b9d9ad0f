/** Prometheus metrics of a node, read from what the relay and the indexer last reported. */
import { Gauge, Registry, collectDefaultMetrics } from 'prom-client';
import type { IndexerStatus } from '../../store/indexer.ts';
import type { RelayProcess } from './relay-process.ts';

interface Sources {
  readonly relay: RelayProcess;
  readonly indexer: () => IndexerStatus;
}

export function createMetrics(sources: Sources): { contentType: string; read(): Promise<string> } {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: 'dbwitness_node_' });
  const gauge = (name: string, help: string, value: () => number): void => {
    registry.registerMetric(
      new Gauge({
        name: `dbwitness_${name}`,
        help,
        registers: [],
        collect() {
          this.set(value());
        },
      }),
    );
  };
  const { relay, indexer } = sources;
  const counter = (name: string) => relay.report?.counters[name] ?? 0;
  gauge('sessions', 'Sessions open now', () => relay.report?.sessions ?? 0);
  gauge('sessions_opened_total', 'Sessions opened since the relay started', () => counter('sessions_opened'));
  gauge('logins_failed_total', 'Log-ins refused or failed since the relay started', () =>
    counter('logins_failed'),
  );
  gauge('statements_total', 'Statements recorded since the relay started', () => counter('statements'));
  gauge('refusals_total', 'Statements refused since the relay started', () => counter('refusals'));
  gauge('client_bytes_total', 'Bytes received from clients', () => counter('bytes_in'));
  gauge('upstream_bytes_total', 'Bytes received from upstream servers', () => counter('bytes_out'));
  gauge('journal_events_total', 'Events in the journal', () => relay.report?.journal.nextSeq ?? 0);
  gauge('journal_failing', '1 while the journal cannot be written', () =>
    relay.report?.journal.state === 'failing' ? 1 : 0,
  );
  gauge('journal_unsynced_events', 'Events not on stable storage yet', () => {
    const journal = relay.report?.journal;
    return journal ? journal.nextSeq - journal.durable : 0;
  });
  gauge('index_lag_events', 'Events in the journal that the index does not know yet', () =>
    Math.max(0, (relay.report?.journal.nextSeq ?? 0) - indexer().nextSeq),
  );
  gauge(
    'relay_event_loop_delay_ms',
    'Largest delay of the relay’s event loop in the last second',
    () => relay.report?.loopDelayMs ?? 0,
  );
  gauge('relay_resident_bytes', 'Resident memory of the relay’s process', () => relay.report?.rssBytes ?? 0);
  gauge('relay_restarts_total', 'Times the relay died and was started again', () => relay.restarts);
  return { contentType: registry.contentType, read: () => registry.metrics() };
}
