/** The console: one page for each address below /app/ (`pages/index.ts`), both languages, light and dark. */

import { createRoot } from "react-dom/client";
import { App } from "./app";
import "./app.css";

const root = document.getElementById("root");
if (root) createRoot(root).render(<App />);
