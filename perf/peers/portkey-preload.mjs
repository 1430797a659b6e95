// An answer that was fetched has fields that can't be changed, and the gateway changes them: hand it a copy.
const fetched = globalThis.fetch;
globalThis.fetch = async (...ask) => {
  const answer = await fetched(...ask);
  return new Response(answer.body, { status: answer.status, statusText: answer.statusText, headers: new Headers(answer.headers) });
};
