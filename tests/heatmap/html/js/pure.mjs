// The scripts that know no page, put together as they are in it; what they define is exported.
import { readFileSync } from "node:fs";

const { QKV_SCRIPTS, QKV_FOLDER } = process.env;
const names = [
  "SIDE", "coding", "weightsOf", "errorOf", "encode", "halved", "levelsOf", "inflated", "joinedBytes", "fromHalves",
  "coloursOf", "scaleOf", "shareOf", "levelOf", "weightAt", "shortOf", "contrast", "inkOn", "pixelsOf",
  "visible", "isSpecial", "wordStarts", "wordOf", "inText", "derivedAxis", "findTokens",
  "Stored", "Held", "Computed", "allOf", "derivedWeights", "difference", "rankOf", "tileOf",
  "quoted", "listOf", "inList", "positionsOf", "commandLine", "escaped", "svgCells", "svgText",
];
const text = QKV_SCRIPTS.split(",").map((name) => readFileSync(`${QKV_FOLDER}/${name}`, "utf8")).join("\n");
export default new Function(`"use strict";\n${text}\nreturn { ${names.join(", ")} };`)();
