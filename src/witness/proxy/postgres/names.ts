/**
 * Names of prepared statements and portals, seen from two moments.
 *
 * A client may pipeline: Parse "s", Bind "s", Execute, and before any answer Parse "s" again. What a name means when a
 * message is *forwarded* (the prediction, needed to announce a statement before the server sees it) can differ from
 * what it meant when the server *ran* it, if a Parse in between failed. So there are two views: `predicted`, changed
 * as messages are forwarded, and `actual`, changed as the server confirms them. After an error the names that skipped
 * requests had touched are set back to what the server has.
 */
import { type Request, RequestKind, type RequestQueue } from './requests.ts';
import type { Portal, StatementText } from './statement.ts';

export class NameView {
  unnamedStatement: StatementText | null = null;
  unnamedPortal: Portal | null = null;
  readonly statements = new Map<string, StatementText>();
  readonly portals = new Map<string, Portal>();

  statement(name: string): StatementText | null {
    return name === '' ? this.unnamedStatement : (this.statements.get(name) ?? null);
  }

  setStatement(name: string, text: StatementText | null): void {
    if (name === '') this.unnamedStatement = text;
    else if (text) this.statements.set(name, text);
    else this.statements.delete(name);
  }

  portal(name: string): Portal | null {
    return name === '' ? this.unnamedPortal : (this.portals.get(name) ?? null);
  }

  setPortal(name: string, portal: Portal | null): void {
    if (name === '') this.unnamedPortal = portal;
    else if (portal) this.portals.set(name, portal);
    else this.portals.delete(name);
  }

  /** Portals do not outlive their transaction. */
  transactionEnded(): void {
    this.unnamedPortal = null;
    if (this.portals.size > 0) this.portals.clear();
  }
}

/** What a request does to a view once it succeeds. */
export function applyToNames(view: NameView, request: Request): void {
  switch (request.kind) {
    case RequestKind.parse:
      view.setStatement(request.name, request.text);
      break;
    case RequestKind.bind:
      view.setPortal(request.name, request.portal);
      break;
    case RequestKind.closeStatement:
      view.setStatement(request.name, null);
      break;
    case RequestKind.closePortal:
      view.setPortal(request.name, null);
      break;
    case RequestKind.query:
    case RequestKind.describeStatement:
    case RequestKind.describePortal:
    case RequestKind.execute:
    case RequestKind.sync:
    case RequestKind.functionCall:
    case RequestKind.copyEnd:
    case RequestKind.xidProbe:
      break; // these name nothing
  }
}

/** Sets `predicted` right after `skipped` requests turned out not to have happened; `queue` holds what is still ahead. */
export function revertNames(
  predicted: NameView,
  actual: NameView,
  skipped: readonly Request[],
  queue: RequestQueue,
): void {
  let touched = false;
  for (const request of skipped) {
    switch (request.kind) {
      case RequestKind.parse:
      case RequestKind.closeStatement:
        predicted.setStatement(request.name, actual.statement(request.name));
        touched = true;
        break;
      case RequestKind.bind:
      case RequestKind.closePortal:
        predicted.setPortal(request.name, actual.portal(request.name));
        touched = true;
        break;
      case RequestKind.query:
      case RequestKind.describeStatement:
      case RequestKind.describePortal:
      case RequestKind.execute:
      case RequestKind.sync:
      case RequestKind.functionCall:
      case RequestKind.copyEnd:
      case RequestKind.xidProbe:
        break; // these name nothing
    }
  }
  if (!touched) return;
  for (let i = 0; i < queue.size; i++) applyToNames(predicted, queue.at(i));
}
