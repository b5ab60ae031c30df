// The tools, resources and prompts that the scenarios of @modelcontextprotocol/conformance ask a server for, by the
// protocol's own SDK: `node mcp_fixtures.mjs stdio`, or `node mcp_fixtures.mjs http PORT` on the loopback interface.
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import * as types from "@modelcontextprotocol/sdk/types.js";

const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
const WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=";
const text = (words) => ({ type: "text", text: words });
const image = { type: "image", data: PNG, mimeType: "image/png" };
const embedded = (uri, words) => ({ type: "resource", resource: { uri, mimeType: "text/plain", text: words } });
const pause = () => new Promise((done) => setTimeout(done, 50));

const TOOLS = {
  test_simple_text: async () => [text("This is a simple text response for testing.")],
  test_image_content: async () => [image],
  test_audio_content: async () => [{ type: "audio", data: WAV, mimeType: "audio/wav" }],
  test_embedded_resource: async () => [embedded("test://embedded-resource", "This is an embedded resource content.")],
  test_multiple_content_types: async () => [
    text("Multiple content types test:"),
    image,
    { type: "resource", resource: { uri: "test://mixed", mimeType: "application/json", text: '{"test":"data"}' } },
  ],
  test_tool_with_logging: async (extra) => {
    for (const data of ["Tool execution started", "Tool processing data", "Tool execution completed"]) {
      await extra.sendNotification({ method: "notifications/message", params: { level: "info", data } });
      await pause();
    }
    return [text("Tool with logging executed successfully")];
  },
  test_tool_with_progress: async (extra) => {
    const progressToken = extra._meta?.progressToken ?? 0;
    for (const progress of [0, 50, 100]) {
      await extra.sendNotification({ method: "notifications/progress", params: { progressToken, progress, total: 100 } });
      await pause();
    }
    return [text(String(progressToken))];
  },
  test_error_handling: async () => {
    throw new Error("This tool intentionally returns an error for testing");
  },
};
const EMPTY = { type: "object", properties: {} };
const RESOURCES = {
  "test://static-text": { mimeType: "text/plain", text: "This is the content of the static text resource." },
  "test://static-binary": { mimeType: "image/png", blob: PNG },
};
const PROMPTS = {
  test_simple_prompt: { says: () => [text("This is a simple prompt for testing.")], arguments: [] },
  test_prompt_with_arguments: {
    arguments: ["arg1", "arg2"],
    says: (given) => [text(`Prompt with arguments: arg1='${given.arg1}', arg2='${given.arg2}'`)],
  },
  test_prompt_with_embedded_resource: {
    arguments: ["resourceUri"],
    says: (given) => [embedded(given.resourceUri, "Embedded resource content for testing."), text("Please process it.")],
  },
  test_prompt_with_image: { says: () => [image, text("Please analyze the image above.")], arguments: [] },
};

function fixtures() {
  const capabilities = { tools: {}, resources: { subscribe: true }, prompts: {}, completions: {}, logging: {} };
  const server = new Server({ name: "fixtures", version: "1.0.0" }, { capabilities });
  const on = (schema, answer) => server.setRequestHandler(schema, answer);
  on(types.ListToolsRequestSchema, async () => ({
    tools: Object.keys(TOOLS).map((name) => ({ name, description: `The fixture ${name}`, inputSchema: EMPTY })),
  }));
  on(types.CallToolRequestSchema, async ({ params }, extra) => {
    try {
      return { content: await TOOLS[params.name](extra) };
    } catch (error) {
      return { content: [text(error.message)], isError: true };
    }
  });
  on(types.ListResourcesRequestSchema, async () => ({
    resources: Object.entries(RESOURCES).map(([uri, { mimeType }]) => ({ uri, name: uri, description: uri, mimeType })),
  }));
  on(types.ListResourceTemplatesRequestSchema, async () => ({
    resourceTemplates: [{ uriTemplate: "test://template/{id}/data", name: "template", mimeType: "application/json" }],
  }));
  on(types.ReadResourceRequestSchema, async ({ params: { uri } }) => {
    const id = /^test:\/\/template\/(.+)\/data$/.exec(uri)?.[1];
    const said = { mimeType: "application/json", text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` }) };
    return { contents: [{ uri, ...(RESOURCES[uri] ?? said) }] };
  });
  on(types.SubscribeRequestSchema, async () => ({}));
  on(types.UnsubscribeRequestSchema, async () => ({}));
  on(types.ListPromptsRequestSchema, async () => ({
    prompts: Object.entries(PROMPTS).map(([name, each]) => ({
      name,
      description: `The fixture ${name}`,
      arguments: each.arguments.map((argument) => ({ name: argument, description: argument, required: true })),
    })),
  }));
  on(types.GetPromptRequestSchema, async ({ params }) => ({
    messages: PROMPTS[params.name].says(params.arguments ?? {}).map((content) => ({ role: "user", content })),
  }));
  on(types.CompleteRequestSchema, async () => ({ completion: { values: ["paris", "park"], total: 2, hasMore: false } }));
  on(types.SetLevelRequestSchema, async () => ({}));
  return server;
}

async function serveHttp(port) {
  const sessions = new Map();
  const listener = createServer(async (request, response) => {
    let transport = sessions.get(request.headers["mcp-session-id"]);
    if (!transport) {
      transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: () => randomUUID(),
        onsessioninitialized: (id) => sessions.set(id, transport),
      });
      await fixtures().connect(transport);
    }
    await transport.handleRequest(request, response);
  });
  listener.listen(port, "127.0.0.1");
}

if (process.argv[2] === "http") await serveHttp(Number(process.argv[3]));
else await fixtures().connect(new StdioServerTransport());
