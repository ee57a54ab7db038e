// Keeps every file of the page, so that it works without a network from the first visit on.
// FILES and VERSION are filled in when the page is built.

const NAME = `lungcls-${VERSION}`;

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
  const find = async () => (await caches.open(NAME)).match(event.request, { ignoreSearch: true });
  event.respondWith(find().then((kept) => kept ?? fetch(event.request)));
});
