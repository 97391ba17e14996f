// How the reference page looks: the reader's own fonts, light or dark as he has it, and readable on
// a telephone and on paper.

// The name by which the formatter knows what it is.
const css = String.raw;

export const style = css`
  :root {
    color-scheme: light dark;
    --ink: light-dark(#1b2430, #dbe2ea);
    --soft: light-dark(#556070, #97a3b2);
    --line: light-dark(#dde3ea, #2c3642);
    --back: light-dark(#fff, #12171d);
    --panel: light-dark(#f5f7fa, #1a212a);
    --link: light-dark(#0b5cad, #74b6ff);
    --get: light-dark(#0a6b3d, #5fd39a);
    --post: light-dark(#0b5cad, #74b6ff);
    --patch: light-dark(#8a5300, #f0b760);
    --delete: light-dark(#b3261e, #ff8a80);
  }
  * {
    box-sizing: border-box;
  }
  html {
    scroll-padding-top: 1rem;
  }
  body {
    margin: 0;
    color: var(--ink);
    background: var(--back);
    font:
      16px/1.55 system-ui,
      sans-serif;
  }
  a {
    color: var(--link);
    text-decoration: none;
  }
  a:hover {
    text-decoration: underline;
  }
  :focus-visible {
    outline: 2px solid var(--link);
    outline-offset: 2px;
  }
  .skip {
    position: absolute;
    left: -99rem;
  }
  .skip:focus {
    left: 1rem;
    top: 1rem;
    background: var(--back);
  }
  nav {
    position: fixed;
    inset: 0 auto 0 0;
    width: 20rem;
    overflow-y: auto;
    padding: 1.5rem 1.25rem;
    border-right: 1px solid var(--line);
    background: var(--panel);
    font-size: 0.875rem;
  }
  nav h2 {
    margin: 1.25rem 0 0.25rem;
    font-size: 0.75rem;
    letter-spacing: 0.06em;
    text-transform: uppercase;
    color: var(--soft);
  }
  nav ul {
    list-style: none;
    margin: 0;
    padding: 0;
  }
  nav li a {
    display: block;
    padding: 0.2rem 0;
    color: inherit;
  }
  main {
    margin-left: 20rem;
    padding: 2rem 3rem 6rem;
    max-width: 66rem;
  }
  h1 {
    font-size: 2rem;
    margin: 0;
  }
  h1 small {
    font-size: 1rem;
    font-weight: 400;
    color: var(--soft);
  }
  h2 {
    font-size: 1.5rem;
    margin: 3.5rem 0 0.25rem;
  }
  h3 {
    font-size: 1.125rem;
    margin: 0 0 0.25rem;
  }
  h4 {
    font-size: 0.8125rem;
    margin: 1.25rem 0 0.35rem;
    color: var(--soft);
  }
  article {
    margin: 1.5rem 0;
    padding: 1.25rem 1.5rem;
    border: 1px solid var(--line);
    border-radius: 0.5rem;
  }
  .path {
    font:
      600 0.9375rem/1.4 ui-monospace,
      monospace;
    overflow-wrap: anywhere;
    margin: 0 0 0.5rem;
  }
  .get {
    color: var(--get);
  }
  .post {
    color: var(--post);
  }
  .patch {
    color: var(--patch);
  }
  .delete {
    color: var(--delete);
  }
  code,
  pre {
    font:
      0.8125rem/1.5 ui-monospace,
      monospace;
  }
  code {
    background: var(--panel);
    padding: 0.05rem 0.3rem;
    border-radius: 0.2rem;
    overflow-wrap: anywhere;
  }
  pre {
    background: var(--panel);
    border: 1px solid var(--line);
    border-radius: 0.35rem;
    padding: 0.75rem 1rem;
    margin: 0;
    overflow-x: auto;
  }
  table {
    border-collapse: collapse;
    width: 100%;
    font-size: 0.875rem;
  }
  th,
  td {
    text-align: left;
    vertical-align: top;
    padding: 0.4rem 0.75rem 0.4rem 0;
    border-top: 1px solid var(--line);
  }
  thead th {
    border-top: 0;
    font-size: 0.75rem;
    font-weight: 600;
    color: var(--soft);
  }
  tbody th {
    font-weight: 600;
    white-space: nowrap;
  }
  td p {
    margin: 0 0 0.25rem;
  }
  .soft {
    color: var(--soft);
  }
  @media (max-width: 60rem) {
    nav {
      position: static;
      width: auto;
      border: 0;
      border-bottom: 1px solid var(--line);
      max-height: 40vh;
    }
    main {
      margin: 0;
      padding: 1.5rem 1rem 4rem;
    }
    article {
      padding: 1rem;
    }
    .wide {
      overflow-x: auto;
    }
  }
  @media print {
    nav {
      display: none;
    }
    main {
      margin: 0;
      max-width: none;
    }
    article {
      break-inside: avoid;
    }
  }
`.replaceAll(/\s+/g, " ");
