// What the operations page takes of npm: a viewer of BPMN diagrams that can be moved and zoomed, and
// a layout for models that have none.
export { default as Viewer } from "bpmn-js/lib/NavigatedViewer";
export { layoutProcess } from "bpmn-auto-layout";
