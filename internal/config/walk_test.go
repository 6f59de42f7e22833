package config

import "go.yaml.in/yaml/v3"

// walk calls each for the path of every key below a node, with [] for lists.
func walk(node *yaml.Node, path string, each func(string)) {
	if node.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := join(path, node.Content[i].Value)
			each(key)
			walk(node.Content[i+1], key, each)
		}
	}
	if node.Kind == yaml.SequenceNode {
		for _, item := range node.Content {
			walk(item, path+"[]", each)
		}
	}
}
