export async function makeProof(_f: string, _s: unknown): Promise<object> {
  return {};
}
