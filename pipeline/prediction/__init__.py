"""From sources to ranked predictions: options, predictor, bundles, files, engines."""
