// The parties: the simulated vendor (a program of the Python half), the real gateway in front of it.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

// Where the tests lie; this file is run from the folder that the packages are in.
const SDK = process.env.KT_SDK;

/** What every answer of the vendor costs. */
export const PROMPT = 35;
export const OUTPUT = 11;

/** The first line of `stream` that `find` finds something in. */
async function line(stream, find) {
  for await (const text of createInterface({ input: stream })) {
    const found = find(text);
    if (found) return found;
  }
  throw new Error("it ended too early");
}

/** Starts both; `stop` ends them. */
export async function start() {
  const vendor = spawn("python3", [join(SDK, "vendor.py")], { stdio: ["pipe", "pipe", "inherit"] });
  const port = await line(vendor.stdout, (text) => text.trim());
  const state = mkdtempSync(join(tmpdir(), "kt-sdk-"));
  const config = join(state, "policy-config.yaml");
  writeFileSync(config, readFileSync(join(SDK, "policy-config.yaml"), "utf8").replaceAll("PORT", port));
  const args = ["gateway", "run", "--policy-config", config, "--listen", "127.0.0.1:0", "--cores", "1"];
  const gateway = spawn(process.env.KT, [...args, "--state-dir", join(state, "state")], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, VENDOR_KEY: "sk-vendor", CLIENT_KEY: "sk-client" },
  });
  const ended = new Promise((resolve) => gateway.once("exit", resolve));
  let url;
  await line(gateway.stderr, (text) => {
    url ??= /Starting gateway on (\S+)/.exec(text)?.[1];
    return text.includes("Gateway ready");
  });
  gateway.stderr.resume();
  const stop = async () => {
    gateway.kill("SIGTERM");
    await ended;
    vendor.stdin.end();
    rmSync(state, { recursive: true });
  };
  return { url: `http://${url}`, stop };
}
