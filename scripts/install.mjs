// Installs the npm packages of package-lock.json where they are missing or of another version, and finds the Node that
// package.json asks for.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The first major version that runs TypeScript sources as they are, with everything we use of it. */
const minimumMajor = 24;

/**
 * Installs unless node_modules holds exactly what package-lock.json says. Not by `npm ci`: that refuses a lock file that
 * was written with a registry mirror which lacks binaries for other platforms. The comparison afterwards is as strict.
 */
export function ensureNodeModules(root) {
  const reason = whatIsMissing(root);
  if (reason === null) return;
  console.error(`installing npm packages (${reason})`);
  const args = ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error'];
  const result = spawnSync('npm', args, { cwd: root, stdio: ['ignore', 2, 2] });
  if (result.error) fail(`npm cannot be started: ${result.error.message}`);
  if (result.status !== 0) fail('npm install failed: see above. It needs the npm registry.');
  const still = whatIsMissing(root);
  if (still !== null) fail(`npm install left node_modules incomplete: ${still}`);
}

function whatIsMissing(root) {
  const wanted = readLock(join(root, 'package-lock.json'));
  const present = readLock(join(root, 'node_modules', '.package-lock.json'));
  if (wanted === null) fail('package-lock.json is missing: this is not a complete clone.');
  if (present === null) return 'node_modules is missing';
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === '' || entry.optional || entry.devOptional || entry.peer) continue;
    if (present[path]?.version !== entry.version)
      return `${path.replace(/^.*node_modules\//, '')} is not ${entry.version}`;
  }
  return null;
}

function readLock(file) {
  if (!existsSync(file)) return null;
  return JSON.parse(readFileSync(file, 'utf8')).packages;
}

/**
 * The Node to run tasks with: the one in node_modules; where that did not install (no binary for the platform, install
 * scripts switched off), the running one if it is new enough.
 */
export function projectNode(root) {
  const ours = join(root, 'node_modules', '.bin', 'node');
  let version = versionOf(ours);
  if (version === null) {
    // npm was told to ignore install scripts; this one fetches the binary of Node.
    spawnSync('npm', ['rebuild', 'node', '--ignore-scripts=false'], { cwd: root, stdio: ['ignore', 2, 2] });
    version = versionOf(ours);
  }
  if (version !== null && major(version) >= minimumMajor) return ours;
  if (major(process.version) >= minimumMajor) {
    console.error(`the Node of package.json did not install; using ${process.version} of this machine`);
    return process.execPath;
  }
  return fail(
    `dbwitness needs Node ${minimumMajor} or later. node_modules/.bin/node ${version === null ? 'does not run' : `is ${version}`}, ` +
      `and this machine has ${process.version}. Remove node_modules and try again, or install Node ${minimumMajor}.`,
  );
}

function versionOf(node) {
  if (!existsSync(node)) return null;
  try {
    return execFileSync(node, ['--version'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return null;
  }
}

function major(version) {
  return Number(version.replace(/^v/, '').split('.')[0]);
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
