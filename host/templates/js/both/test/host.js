// Starts and stops `host` for a test. It is the program in WASM_HOST, or wasm-host, or host.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const wasmHost = () => (spawnSync('wasm-host', ['--version']).error ? 'host' : 'wasm-host');

export class Host {
  static async serve() {
    const host = new Host();
    const flags = ['host.toml', '--addr', '127.0.0.1:0', '--control', 'off'];
    host.process = spawn(process.env.WASM_HOST ?? wasmHost(), ['serve', ...flags], {
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      stdio: ['ignore', 'pipe', 'inherit'],
      // Ends a host that would go on for ever.
      timeout: 300_000,
      killSignal: 'SIGKILL',
    });
    host.exit = once(host.process, 'exit');
    for await (const line of createInterface(host.process.stdout)) {
      const addr = /addr=(\S+)/.exec(line);
      if (addr) {
        host.url = `http://${addr[1]}`;
        return host;
      }
    }
    throw new Error('host is not installed, or did not get ready');
  }

  /** Its exit code. */
  async stop() {
    this.process.kill('SIGTERM');
    return (await this.exit)[0];
  }
}
