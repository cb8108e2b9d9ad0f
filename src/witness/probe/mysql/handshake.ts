/**
 * The application name of a client: its connection attribute `program_name`, from the packet of its log-in (or of
 * COM_CHANGE_USER) as the server's buffer held it. What else is in that packet goes no further.
 */
import { isAppError } from '../../../base/errors.ts';
import { decodeChangeUser } from '../../../wire/mysql/commands.ts';
import { decodeHandshakeResponse } from '../../../wire/mysql/handshake.ts';
import { Capability } from '../../../wire/mysql/protocol.ts';

const ATTRIBUTE = 'program_name';
const MAX_NAME = 64;
const COM_CHANGE_USER = Buffer.of(17);
/** What clients that send attributes with COM_CHANGE_USER negotiate. */
const CHANGE_USER =
  Capability.PROTOCOL_41 | Capability.SECURE_CONNECTION | Capability.PLUGIN_AUTH | Capability.CONNECT_ATTRS;

/**
 * '' without one. `data`: at the packet's first byte (of COM_CHANGE_USER maybe at its second), with whatever stands behind
 * its end.
 */
export function applicationName(data: Buffer, changeUser: boolean): string {
  try {
    const { attributes } = changeUser ? changed(data) : decodeHandshakeResponse(data, 0, data.length);
    return (attributes.get(ATTRIBUTE) ?? '').slice(0, MAX_NAME);
  } catch (error) {
    if (isAppError(error)) return '';
    throw error;
  }
}

function changed(data: Buffer): ReturnType<typeof decodeChangeUser> {
  const packet = data[0] === COM_CHANGE_USER[0] ? data : Buffer.concat([COM_CHANGE_USER, data]);
  return decodeChangeUser(packet, 0, packet.length, { flags: CHANGE_USER, mariadb: 0 });
}
