"""The applications that answer every route but the predict routes: KServe's, KFServing's, ours."""
