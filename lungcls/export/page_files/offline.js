// Keeps every file of the page, so that it works without a network from the first visit on.
// FILES and VERSION are filled in when the page is built.

const NAME = `lungcls-${VERSION}`;
// A worker does not take over the page's policy; with this one it reaches no other address either.
const POLICY = "default-src 'none'; connect-src 'self'; script-src 'self' 'wasm-unsafe-eval'";

self.addEventListener("install", (event) => {
  event.waitUntil(
    caches
      .open(NAME)
      .then((cache) => cache.addAll(FILES.map((file) => new Request(file, { cache: "no-cache" })))),
  );
});

self.addEventListener("activate", (event) => {
  const clear = async () => {
    const names = await caches.keys();
    await Promise.all(names.filter((name) => name.startsWith("lungcls-") && name !== NAME).map((name) => caches.delete(name)));
    await self.clients.claim();
  };
  event.waitUntil(clear());
});

self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET") return;
  const find = async () => {
    const kept = await (await caches.open(NAME)).match(event.request, { ignoreSearch: true });
    if (!kept || !event.request.url.endsWith("/worker.js")) return kept ?? fetch(event.request);
    const headers = new Headers(kept.headers);
    headers.set("Content-Security-Policy", POLICY);
    return new Response(kept.body, { headers });
  };
  event.respondWith(find());
});
